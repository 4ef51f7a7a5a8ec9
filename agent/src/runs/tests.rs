//! Runs over 127.0.0.1, with real sockets and without privileges.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nettoll_core::{
    api::{FlowTuple, Place, Role, RoundSide, RoundSpec, RunSpec, UserStage},
    endpoint::{Endpoint, Path, PathKind},
    hop::{Direction, Side},
    report::{Options, TestType},
};

use super::*;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Rounds that run at the same time would measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn agent() -> Runs {
    Runs::new("n1".to_owned(), BTreeMap::new())
}

fn spec(id: &str, test: TestType, role: Role, port: u16) -> RunSpec {
    let endpoint = Endpoint::Node("n1".to_owned());
    let place = Place {
        endpoint: endpoint.clone(),
        netns: Netns::own().unwrap().inode(),
        address: LOCAL,
    };
    RunSpec {
        id: id.to_owned(),
        path: Path {
            kind: PathKind::Loopback,
            from: endpoint.clone(),
            to: endpoint,
            network: None,
        },
        test,
        options: Options {
            seconds: 0.2,
            rounds: 1,
            warmup_ms: 20,
            message_bytes: 131_072,
            request_bytes: 64,
            response_bytes: 200,
            sample_hz: 0,
        },
        role,
        client: place.clone(),
        server: place,
        port,
        devices: Vec::new(),
        count_nodes: Vec::new(),
        sample: false,
    }
}

fn round(pair: u32) -> RoundSpec {
    RoundSpec {
        pair,
        sequence: pair,
        probe: false,
        calibrate: false,
        seconds: 0.1,
    }
}

fn one_round(agent: &Runs, id: &str, pair: u32) -> RoundSide {
    agent.begin(id, round(pair)).unwrap();
    let ran = agent.run(id, round(pair)).unwrap();
    let ended = agent.end(id).unwrap();
    assert_eq!(ran, ended, "the end repeats the client's figures");
    ran
}

/// A free port, as far as one can know.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind((LOCAL, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// Runs a test of this file in a process of its own: nobody else there makes threads and
/// descriptors.
fn by_itself(test: &str, f: impl FnOnce()) {
    const MARK: &str = "NETTOLL_TEST_BY_ITSELF";
    if std::env::var_os(MARK).is_some() {
        return f();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("runs::tests::{test}"), "--nocapture"])
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

/// Nothing is wrong with the round but what a crowded machine can do to it.
fn assert_valid(side: &RoundSide) {
    if let Some(reason) = &side.invalid_reason {
        let crowded = ["the hypervisor took", "only "];
        let crowded = crowded.iter().any(|start| reason.starts_with(start));
        assert!(crowded, "{reason}");
    }
}

#[test]
fn every_test_runs_within_one_agent() {
    let _alone = alone();
    let agent = agent();
    for test in TestType::ALL {
        let id = test.as_str();
        let prepared = agent.prepare(spec(id, test, Role::Both, 0)).unwrap();
        let flow = prepared.flow.unwrap();
        assert!(flow.client.port() != 0 && flow.server.port() != 0);
        agent.flow(id, flow).unwrap();
        agent.start(id).unwrap();
        for pair in 0..3 {
            let side = one_round(&agent, id, pair);
            assert_valid(&side);
            assert!(side.seconds >= 0.1 && side.bytes > 0, "{test}: {side:?}");
            assert!(side.cpu_busy_seconds.is_some());
            assert_eq!(side.lost, 0, "{test}");
            if test == TestType::TcpStream {
                assert_eq!((side.transactions, &side.rtt), (0, &None));
            } else {
                let rtt = side.rtt.unwrap();
                assert!(side.transactions > 0 && rtt.count == side.transactions);
                assert_eq!(side.bytes, 64 * side.transactions);
                let sum = Duration::from_nanos(rtt.sum_ns).as_secs_f64();
                assert!(sum <= side.seconds, "the times add up to the round at most");
                assert!(rtt.max_ns <= rtt.sum_ns);
            }
        }
        let side = agent.finish(id).unwrap();
        assert_eq!(side.node, "n1");
        assert!(side.edges.is_empty() && side.programs.is_empty() && side.stacks.is_none());
        assert!(
            side.user_times.iter().all(|times| times.times.count == 0),
            "only in rounds with the probe"
        );
        let tcp = matches!(test, TestType::TcpStream | TestType::TcpRr);
        assert_eq!(side.tcp.is_some(), tcp);
        if let Some(tcp) = side.tcp {
            assert!(tcp.mss_bytes > 500 && tcp.cwnd_segments > 0);
            assert!(!tcp.congestion_control.is_empty());
        }
        agent.delete(id).unwrap();
    }
}

#[test]
fn two_agents_agree_on_what_was_sent() {
    let _alone = alone();
    let (client, server) = (agent(), agent());
    for test in [TestType::TcpRr, TestType::UdpRr, TestType::TcpStream] {
        let (id, port) = (test.as_str(), free_port());
        let listening = server.prepare(spec(id, test, Role::Server, port)).unwrap();
        assert_eq!(listening.flow, None);
        let flow = client
            .prepare(spec(id, test, Role::Client, port))
            .unwrap()
            .flow
            .unwrap();
        server.flow(id, flow).unwrap();
        client.start(id).unwrap();
        for pair in 0..3 {
            server.begin(id, round(pair)).unwrap();
            client.begin(id, round(pair)).unwrap();
            let ran = client.run(id, round(pair)).unwrap();
            let served = server.end(id).unwrap();
            client.end(id).unwrap();
            assert_valid(&ran);
            assert_valid(&served);
            assert_eq!(ran.transactions, served.transactions, "{test}");
            assert!(served.cpu_busy_seconds.is_some());
            if test == TestType::TcpStream {
                let (sent, received) = (ran.bytes as f64, served.bytes as f64);
                assert!((0.5..2.0).contains(&(received / sent)), "{sent} {received}");
                assert!((0.05..0.4).contains(&served.seconds), "{}", served.seconds);
            } else {
                assert_eq!(ran.bytes, served.bytes, "{test}");
            }
        }
        let stages: Vec<_> = [client.finish(id).unwrap(), server.finish(id).unwrap()]
            .iter()
            .flat_map(|side| &side.user_times)
            .map(|times| (times.stage, times.side, times.direction))
            .collect();
        let arrived = (UserStage::SocketRx, Side::Server, Direction::Request);
        if test == TestType::TcpStream {
            assert_eq!(stages, [arrived]);
        } else {
            let answered = (UserStage::SocketRx, Side::Client, Direction::Response);
            let responder = (UserStage::Responder, Side::Server, Direction::Response);
            assert_eq!(stages, [answered, arrived, responder]);
        }
        client.delete(id).unwrap();
        server.delete(id).unwrap();
    }
}

#[test]
fn requests_in_the_wrong_order_are_refused() {
    let _alone = alone();
    let agent = agent();
    let status = |result: Result<(), RunError>| result.unwrap_err().status();
    assert_eq!(status(agent.start("none")), 404);
    assert_eq!(status(agent.delete("none")), 404);
    agent
        .prepare(spec("a", TestType::TcpRr, Role::Both, 0))
        .unwrap();
    agent
        .prepare(spec("b", TestType::UdpRr, Role::Both, 0))
        .unwrap();
    let again = agent.prepare(spec("a", TestType::TcpRr, Role::Both, 0));
    assert_eq!(again.unwrap_err().status(), 409);
    assert_eq!(status(agent.begin("a", round(0))), 409, "before the start");
    agent.start("a").unwrap();
    agent.start("b").unwrap();
    assert_eq!(status(agent.start("a")), 409, "twice");
    assert_eq!(
        status(agent.run("a", round(0)).map(drop)),
        409,
        "before the mark"
    );
    assert_eq!(status(agent.end("a").map(drop)), 409);
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let round = RoundSpec {
            seconds,
            ..round(0)
        };
        assert_eq!(status(agent.begin("a", round)), 400, "{seconds}");
    }
    agent.begin("a", round(0)).unwrap();
    let busy = agent.begin("b", round(0)).unwrap_err();
    assert_eq!(busy.status(), 409);
    assert!(busy.to_string().contains("'a'"), "{busy}");
    assert_eq!(
        status(agent.run("a", round(1)).map(drop)),
        409,
        "another round"
    );
    assert_eq!(status(agent.finish("a").map(drop)), 409, "in a round");
    let side = agent.end("a").unwrap();
    assert!(side.invalid_reason.is_some(), "no traffic, no figures");
    assert_valid(&one_round(&agent, "b", 1));
    assert_valid(&one_round(&agent, "a", 1));
    agent.finish("a").unwrap();
    assert_eq!(status(agent.finish("a").map(drop)), 409, "twice");
    assert_eq!(status(agent.begin("a", round(2))), 409, "after the finish");
}

#[test]
fn a_round_without_a_probe_to_have_fails_alone() {
    let _alone = alone();
    let agent = agent();
    if agent.probe_unavailable().is_none() {
        // Privileged, and built with the eBPF side: the lab's tests take over.
        return;
    }
    agent
        .prepare(spec("a", TestType::TcpRr, Role::Both, 0))
        .unwrap();
    agent.start("a").unwrap();
    let probed = RoundSpec {
        probe: true,
        ..round(0)
    };
    let refused = agent.begin("a", probed).unwrap_err();
    assert_eq!(refused.status(), 500);
    assert!(
        refused.to_string().starts_with("no probe on this node: "),
        "{refused}"
    );
    assert_valid(&one_round(&agent, "a", 1));
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let _alone = alone();
    let agent = agent();
    let refuse = |change: &dyn Fn(&mut RunSpec), status, words: &str| {
        let mut spec = spec("x", TestType::UdpRr, Role::Both, 0);
        change(&mut spec);
        let error = agent.prepare(spec).unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    refuse(
        &|s| s.options.request_bytes = 15,
        400,
        "request_bytes is 15",
    );
    refuse(&|s| s.options.response_bytes = 65_508, 400, "65507");
    refuse(
        &|s| s.client.address = "::1".parse().unwrap(),
        400,
        "one family",
    );
    refuse(&|s| s.role = Role::Server, 400, "port 0");
    refuse(
        &|s| (s.test, s.role, s.port) = (TestType::PathCost, Role::Client, 1),
        400,
        "path_cost",
    );
    refuse(&|s| s.server.netns = 1, 409, "resolve the path again");
    let elsewhere = Endpoint::Node("n2".to_owned());
    refuse(
        &|s| (s.server.endpoint, s.role, s.port) = (elsewhere.clone(), Role::Server, 1),
        400,
        "not on node n1",
    );
    refuse(
        &|s| s.server.address = "198.18.0.1".parse().unwrap(),
        500,
        "198.18.0.1",
    );
    let taken = UdpSocket::bind((LOCAL, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    refuse(&|s| s.port = port, 409, "choose another");
    assert!(lock(&agent.runs).is_empty());
}

#[test]
fn a_client_without_a_server_is_told_so() {
    let _alone = alone();
    let agent = agent();
    for (test, words) in [
        (TestType::TcpRr, "cannot connect from 127.0.0.1:"),
        (TestType::TcpStream, "cannot connect from 127.0.0.1:"),
        (TestType::UdpRr, "refused"),
    ] {
        let id = test.as_str();
        agent
            .prepare(spec(id, test, Role::Client, free_port()))
            .unwrap();
        let error = agent.start(id).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.status(), 500);
    }
}

#[test]
fn a_server_answers_its_flow_alone() {
    let _alone = alone();
    let agent = agent();
    let port = free_port();
    agent
        .prepare(spec("s", TestType::TcpRr, Role::Server, port))
        .unwrap();
    let flow = agent
        .prepare(spec("c", TestType::TcpRr, Role::Client, port))
        .unwrap()
        .flow
        .unwrap();
    let other = FlowTuple {
        client: "127.0.0.1:9".parse().unwrap(),
        ..flow
    };
    agent.flow("s", other).unwrap();
    let error = agent.start("c").unwrap_err();
    assert!(
        error.to_string().starts_with("the connection broke"),
        "{error}"
    );
}

#[test]
fn a_lost_request_is_counted_and_is_no_latency() {
    let _alone = alone();
    let agent = agent();
    let server = UdpSocket::bind((LOCAL, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    // It answers what it is sent, but forgets one request after the warm-up.
    let echo = thread::spawn(move || {
        let mut buffer = [0; 2048];
        for count in 0_u64.. {
            let (length, client) = server.recv_from(&mut buffer).unwrap();
            if length == 1 {
                break;
            }
            if count != 60 {
                buffer[64..200].fill(0);
                server.send_to(&buffer[..200], client).unwrap();
            }
        }
    });
    let mut spec = spec("u", TestType::UdpRr, Role::Client, port);
    spec.options.warmup_ms = 0;
    let flow = agent.prepare(spec).unwrap().flow.unwrap();
    agent.start("u").unwrap();
    let long = RoundSpec {
        seconds: 1.1,
        ..round(0)
    };
    agent.begin("u", long.clone()).unwrap();
    let side = agent.run("u", long).unwrap();
    assert_eq!(side.lost, 1);
    assert_valid(&side);
    let rtt = side.rtt.unwrap();
    assert_eq!(rtt.count, side.transactions);
    assert!(rtt.max_ns < 900_000_000, "{}", rtt.max_ns);
    UdpSocket::bind((LOCAL, 0))
        .unwrap()
        .send_to(&[0], flow.server)
        .unwrap();
    echo.join().unwrap();
}

#[test]
fn deleting_ends_a_round_and_leaves_nothing() {
    by_itself(
        "deleting_ends_a_round_and_leaves_nothing",
        rounds_are_deleted,
    );
}

fn rounds_are_deleted() {
    let before = threads_and_descriptors();
    for test in TestType::ALL {
        let agent = agent();
        agent.prepare(spec("a", test, Role::Both, 0)).unwrap();
        agent.start("a").unwrap();
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
    let before = threads_and_descriptors();
    let (agent, server) = (agent(), agent());
    let port = free_port();
    for test in [TestType::TcpRr, TestType::UdpRr, TestType::TcpStream] {
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
                agent.start("r").unwrap();
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
    let agent = agent();
    let port = free_port();
    for test in [TestType::TcpRr, TestType::TcpStream] {
        agent.prepare(spec("s", test, Role::Server, port)).unwrap();
        let flow = agent
            .prepare(spec("c", test, Role::Client, port))
            .unwrap()
            .flow
            .unwrap();
        agent.flow("s", flow).unwrap();
        agent.start("c").unwrap();
        agent.begin("c", round(0)).unwrap();
        agent.delete("s").unwrap();
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
    let error = agent.start("c").unwrap_err();
    assert!(error.to_string().contains("the peer is silent"), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(15));
    agent.delete("c").unwrap();
    hold.join().unwrap();
}
