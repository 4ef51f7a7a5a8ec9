//! Which threads of a real agent hold capabilities while it works: those that read what the
//! network brings have none.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    thread::{self, sleep},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    api::{Prepared, RoundSide, RoundSpec, RunSide},
    report::{Options, TestType},
};
use nettoll_tests::{
    agent::Agent,
    loopback::loopback,
    mesh::{HOST, Mesh, POD, plan, whole},
    threads::Thread,
};

/// The threads that hold capabilities, each of which is there in a round with samples: none of
/// them has a socket of the network that it reads, but what the kernel answers.
const PRIVILEGED: [&str; 4] = [
    "nettoll-orders",
    "nettoll-probe",
    "nettoll-keeper",
    "nettoll-sampler",
];
/// Those that do not, on the agent that asks.
const BARE: [&str; 5] = [
    "nettoll-agent",
    "nettoll-network",
    "nettoll-light",
    "nettoll-client",
    "nettoll-server",
];
/// On the agent that answers.
const ANSWERS: &str = "nettoll-echo";
/// `CAP_SYSLOG`, `CAP_SYS_ADMIN` and `CAP_BPF` of `linux/capability.h`.
const SYSLOG: u64 = 1 << 34;
const USED: u64 = 1 << 21 | 1 << 39;
const HELD: [&str; 4] = ["CapPrm", "CapEff", "CapInh", "CapAmb"];

fn folder(agent: &Agent) -> PathBuf {
    PathBuf::from(format!("/proc/{}", agent.id()))
}

/// Fails where a thread holds what it should not; the names of all.
fn check(threads: &[Thread]) -> Result<BTreeSet<&str>> {
    for thread in threads {
        let name = thread.name();
        ensure!(thread.gains_nothing()?, "{name} may gain privileges");
        let privileged = PRIVILEGED.contains(&name);
        for set in HELD {
            let held = thread.capabilities(set)?;
            ensure!(held & SYSLOG == 0, "{name}: {set} {held:x}");
            ensure!(privileged || held == 0, "{name}: {set} {held:x}");
        }
        // As root the agent may empty this one, too.
        let bound = thread.capabilities("CapBnd")?;
        ensure!(bound & SYSLOG == 0, "{name}: {bound:x}");
        ensure!(privileged || bound == 0, "{name}: {bound:x}");
        let effective = thread.capabilities("CapEff")?;
        ensure!(
            !privileged || effective & USED == USED,
            "{name} lacks what it needs: {effective:x}"
        );
    }
    Ok(threads.iter().map(Thread::name).collect())
}

#[test]
fn threads_that_read_the_network_hold_none() -> Result<()> {
    let mut mesh = Mesh::up()?;
    let mut planned = plan(&mesh, "probe");
    planned.edges.iter_mut().for_each(|edge| edge.probe = true);
    mesh.put(&planned)?;
    let followed = |round: &_| whole(round) && !round.stages.is_empty();
    for edge in [HOST, POD] {
        mesh.until(edge, followed)?;
    }

    let (node, _) = mesh.nodes();
    let mut spec = loopback(&mesh.first, node, "one", TestType::TcpRr)?;
    spec.sample = true;
    spec.options = Options {
        sample_hz: 499,
        ..spec.options
    };
    let probed = RoundSpec {
        pair: 0,
        sequence: 0,
        probe: true,
        calibrate: None,
        seconds: 2.0,
    };
    let agent = &mesh.first;
    agent.ask::<Prepared>("POST", "/v1/runs", &spec)?;
    agent.ask::<()>("POST", "/v1/runs/one/start", &())?;
    agent.ask::<()>("POST", "/v1/runs/one/begin", &probed)?;
    let (seen, side) = thread::scope(|scope| {
        let round = scope.spawn(|| agent.ask::<RoundSide>("POST", "/v1/runs/one/run", &probed));
        sleep(Duration::from_secs(1));
        let seen = Thread::all(&folder(agent));
        (seen, round.join())
    });
    let (seen, side) = (seen?, side.ok().context("the round panicked")??);
    let names = check(&seen)?;
    for name in PRIVILEGED.iter().chain(&BARE) {
        ensure!(names.contains(name), "no {name}: {names:?}");
    }
    let answering = Thread::all(&folder(&mesh.second))?;
    let names = check(&answering)?;
    ensure!(names.contains(ANSWERS), "no {ANSWERS}: {names:?}");

    // And all that needs privilege is done nevertheless, with names for the kernel's functions.
    ensure!(
        side.transactions > 100 && side.invalid_reason.is_none(),
        "{side:?}"
    );
    agent.ask::<RoundSide>("POST", "/v1/runs/one/end", &())?;
    let run: RunSide = agent.ask("POST", "/v1/runs/one/finish", &())?;
    ensure!(!run.edges.is_empty(), "{run:?}");
    let stacks = run.stacks.context("no samples")?;
    let named = |function: &str| {
        let mut all = stacks.stacks.iter().flat_map(|stack| &stack.frames);
        all.any(|frame| frame.contains(function))
    };
    ensure!(named("tcp_sendmsg"), "{stacks:?}");
    agent.ask::<()>("DELETE", "/v1/runs/one", &())?;
    Ok(())
}
