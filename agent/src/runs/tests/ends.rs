//! How runs end: on request, by a peer, in any state.

use std::io::Write as _;

use super::*;
use crate::traffic::header::{HEADER_BYTES, message, run_hash};

/// Runs a test of this file in a process of its own: nobody else there makes threads and
/// descriptors.
fn by_itself(test: &str, f: impl FnOnce()) {
    const MARK: &str = "NETTOLL_TEST_BY_ITSELF";
    if std::env::var_os(MARK).is_some() {
        return f();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("runs::tests::ends::{test}"),
            "--nocapture",
        ])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn threads_and_descriptors() -> (usize, usize) {
    let count = |folder| std::fs::read_dir(folder).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// A thread that was joined may be listed for a moment longer.
fn nothing_is_left(before: (usize, usize), what: &str) {
    let since = Instant::now();
    while threads_and_descriptors() != before && since.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(threads_and_descriptors(), before, "{what}");
}

#[test]
fn deleting_ends_a_round_and_leaves_nothing() {
    by_itself(
        "deleting_ends_a_round_and_leaves_nothing",
        rounds_are_deleted,
    );
}

fn rounds_are_deleted() {
    for test in tests() {
        let agent = agent();
        let before = threads_and_descriptors();
        let mut spec = spec("a", test, Role::Both, 0);
        // One each second and more: nobody is to wait for the next.
        spec.options.rate_bits_per_second = Some(10_000);
        agent.prepare(spec).unwrap();
        agent.start("a", None).unwrap();
        let long = RoundSpec {
            seconds: 60.0,
            ..round(0)
        };
        agent.begin("a", long.clone()).unwrap();
        thread::scope(|scope| {
            let run = scope.spawn(|| agent.run("a", long).unwrap_err());
            thread::sleep(Duration::from_millis(100));
            let asked = Instant::now();
            agent.delete("a").unwrap();
            assert!(asked.elapsed() < Duration::from_secs(1), "{test}");
            let error = run.join().unwrap();
            assert_eq!(error.status(), 409, "{test}: {error}");
            assert!(error.to_string().contains("deleted"), "{error}");
        });
        assert_eq!(*lock(&agent.open), None);
        nothing_is_left(before, test.as_str());
    }
}

#[test]
fn nothing_is_left_in_whatever_state_a_run_is_deleted() {
    by_itself(
        "nothing_is_left_in_whatever_state_a_run_is_deleted",
        all_states_are_deleted,
    );
}

fn all_states_are_deleted() {
    let (agent, server) = (agent(), agent());
    let before = threads_and_descriptors();
    let port = free_port();
    for test in tests().filter(|&test| test != TestType::PathCost) {
        // The same port and id again and again: each time all is free.
        for step in 0..4 {
            server.prepare(spec("r", test, Role::Server, port)).unwrap();
            let flow = agent
                .prepare(spec("r", test, Role::Client, port))
                .unwrap()
                .flow
                .unwrap();
            if step > 0 {
                server.flow("r", flow).unwrap();
            }
            if step > 1 {
                agent.start("r", None).unwrap();
            }
            if step > 2 {
                server.begin("r", round(0)).unwrap();
            }
            server.delete("r").unwrap();
            agent.delete("r").unwrap();
            nothing_is_left(before, &format!("{test} {step}"));
        }
    }
    assert_eq!(*lock(&server.open), None);
    agent
        .prepare(spec("a", TestType::UdpRr, Role::Both, 0))
        .unwrap();
    agent
        .prepare(spec("b", TestType::TcpRr, Role::Both, 0))
        .unwrap();
    agent.reap();
    assert_eq!(lock(&agent.runs).len(), 2, "nobody was silent for long");
    agent.delete_all();
    nothing_is_left(before, "delete_all");
}

#[test]
fn a_vanished_peer_breaks_the_round_not_the_agent() {
    let _alone = alone();
    let (agent, server) = (agent(), agent());
    let port = free_port();
    for test in [
        TestType::TcpRr,
        TestType::TcpStream,
        TestType::TcpReverse,
        TestType::UdpStream,
    ] {
        server.prepare(spec("c", test, Role::Server, port)).unwrap();
        let flow = agent
            .prepare(spec("c", test, Role::Client, port))
            .unwrap()
            .flow
            .unwrap();
        server.flow("c", flow).unwrap();
        agent.start("c", None).unwrap();
        agent.begin("c", round(0)).unwrap();
        server.delete("c").unwrap();
        let side = agent.run("c", round(0)).unwrap();
        let reason = side.invalid_reason.unwrap();
        assert!(
            reason.starts_with("the connection broke"),
            "{test}: {reason}"
        );
        agent.end("c").unwrap();
        agent.delete("c").unwrap();
    }
}

#[test]
fn a_silent_peer_is_not_waited_for_forever() {
    let _alone = alone();
    let agent = agent();
    let listener = std::net::TcpListener::bind((LOCAL, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // It takes what comes and never answers.
    let hold = thread::spawn(move || listener.accept().unwrap());
    agent
        .prepare(spec("c", TestType::TcpRr, Role::Client, port))
        .unwrap();
    let asked = Instant::now();
    let error = agent.start("c", None).unwrap_err();
    assert!(error.to_string().contains("the peer is silent"), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(15));
    agent.delete("c").unwrap();
    hold.join().unwrap();
}

#[test]
fn a_client_that_does_not_read_holds_nobody() {
    let _alone = alone();
    let agent = agent();
    let (test, port) = (TestType::TcpReverse, free_port());
    agent.prepare(spec("s", test, Role::Server, port)).unwrap();
    let mut client = std::net::TcpStream::connect((LOCAL, port)).unwrap();
    let flow = FlowTuple {
        protocol: Protocol::Tcp,
        client: client.local_addr().unwrap(),
        server: client.peer_addr().unwrap(),
    };
    agent.flow("s", flow).unwrap();
    agent.begin("s", round(0)).unwrap();
    // It says go, and takes nothing of what comes.
    let mut go = message(run_hash("s"), HEADER_BYTES);
    go[15] = 1;
    client.write_all(&go).unwrap();
    thread::sleep(Duration::from_millis(500));
    let asked = Instant::now();
    let reason = agent.end("s").unwrap().invalid_reason.unwrap();
    assert!(reason.contains("did not acknowledge"), "{reason}");
    assert!(asked.elapsed() < Duration::from_secs(10));
    let asked = Instant::now();
    agent.delete("s").unwrap();
    assert!(asked.elapsed() < Duration::from_secs(1), "it hangs");
}
