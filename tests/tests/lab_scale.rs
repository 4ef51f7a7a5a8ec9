//! Many devices, many runs one after another and many at once: an agent holds no more after them than
//! before, and never much.

use std::{
    fs,
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    api::{Prepared, RoundSide, RoundSpec, RunSide, RunSpec},
    report::{Options, TestType},
};
use nettoll_lab::{Lab, Network};
use nettoll_tests::{
    agent::{Agent, Certificates},
    bed,
    counters::run_in,
    held::{Held, resident_kib},
    loopback::loopback,
    pods::{Pods, round},
    require_root,
};

/// Virtual cables of one node beside those of its pods: more than the probe has places for.
const CABLES: usize = 300;
/// Runs one after another.
const RUNS: usize = 50;
/// Every so many of them samples stacks.
const SAMPLED: usize = 5;
/// Runs at once: as many as an agent takes, and flows as its maps have room for.
const FLOWS: usize = 64;
/// What an agent may have resident.
const MOST_KIB: u32 = 32 * 1024;
/// Programs go some time after their last descriptor.
const PATIENCE: Duration = Duration::from_secs(15);
const TESTS: [TestType; 3] = [TestType::TcpRr, TestType::UdpRr, TestType::TcpStream];

fn short() -> RoundSpec {
    RoundSpec {
        seconds: 0.05,
        ..round(true)
    }
}

/// A process in a network namespace of its own, which goes with it.
struct Elsewhere(Child);

impl Elsewhere {
    fn new() -> Result<Self> {
        let mut command = Command::new("unshare");
        let process = Self(command.args(["--net", "sleep", "600"]).spawn()?);
        let netns = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net"));
        let begin = Instant::now();
        while netns(&process.0.id().to_string())? == netns("self")? {
            ensure!(begin.elapsed() < PATIENCE, "unshare makes no namespace");
            sleep(Duration::from_millis(1));
        }
        Ok(process)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As many ports of a node's bridge as if it had so many pods, none of which is an endpoint.
fn plug_in() -> Result<Elsewhere> {
    let pods = Elsewhere::new()?;
    let pid = pods.0.id();
    let port = |it| {
        format!(
            "link add many{it} type veth peer name many{it} netns {pid}\n\
             link set many{it} master cni0 up\n"
        )
    };
    let lines: String = (0..CABLES).map(port).collect();
    run_in("nettoll-n1", &["ip", "-batch", "-"], &lines)?;
    Ok(pods)
}

/// A run with the probe and, now and then, samples of stacks on the client's node.
fn run(pods: &Pods, number: usize) -> Result<()> {
    let spec = pods.spec(TESTS[number % TESTS.len()])?;
    let spec = RunSpec {
        id: format!("run-{number}"),
        options: Options {
            sample_hz: 997,
            ..spec.options
        },
        sample: number.is_multiple_of(SAMPLED),
        ..spec
    };
    pods.begin_run(&spec)?;
    pods.round(&spec.id, &short())?;
    for side in pods.finish(&spec.id)? {
        ensure!(!side.edges.is_empty(), "run {number}: nothing was counted");
    }
    pods.end_run(&spec.id)
}

#[test]
fn fifty_runs_on_a_node_of_three_hundred_cables_leave_nothing_behind() -> Result<()> {
    let pods = Pods::up()?;
    let _cables = plug_in()?;
    // What is loaded, or begun, once.
    for number in 0..TESTS.len() {
        run(&pods, number)?;
    }
    let agents = [pods.client.id(), pods.server.id()];
    let before = agents.map(Held::by);
    let begin = Instant::now();
    for number in 0..RUNS {
        run(&pods, number)?;
    }
    println!("{RUNS} runs in {:?}", begin.elapsed());
    for (agent, before) in agents.into_iter().zip(before) {
        let before = before?;
        // The runtime keeps some threads that wait for work, now more and now fewer.
        let most = Held {
            threads: before.threads + RUNS / 10,
            ..before
        };
        let begin = Instant::now();
        let mut after = Held::by(agent)?;
        while !after.is_within(&most) && begin.elapsed() < PATIENCE {
            sleep(Duration::from_millis(100));
            after = Held::by(agent)?;
        }
        let resident = resident_kib(agent)?;
        println!("before {before:?}\nafter  {after:?}, {resident} KiB resident");
        ensure!(after.is_within(&most), "{before:?} became {after:?}");
        ensure!(before.programs > 0 && after.links == 0 && after.entries == 0);
        ensure!(resident <= MOST_KIB, "{resident} KiB resident");
    }
    Ok(())
}

#[test]
fn sixty_four_flows_at_once_fit_into_32_mib() -> Result<()> {
    require_root()?;
    let lab = Lab::up(&bed::options(Network::Vxlan))?;
    let certificates = Certificates::new()?;
    let node = &lab.plan().nodes[0];
    let agent = Agent::start(node, &certificates)?;
    let spec = RunSpec {
        // The kernel chooses.
        port: 0,
        ..loopback(&agent, node, "", TestType::TcpRr)?
    };
    let path = |number: usize, what: &str| format!("/v1/runs/run-{number}/{what}");
    for number in 0..FLOWS {
        let id = format!("run-{number}");
        let spec = RunSpec { id, ..spec.clone() };
        let prepared: Prepared = agent.ask("POST", "/v1/runs", &spec)?;
        prepared.flow.context("no flow")?;
        agent.ask::<()>("POST", &path(number, "start"), &())?;
        // From its first round on the flow is followed.
        agent.ask::<()>("POST", &path(number, "begin"), &short())?;
        agent.ask::<RoundSide>("POST", &path(number, "end"), &())?;
    }
    let (held, resident) = (Held::by(agent.id())?, resident_kib(agent.id())?);
    println!("{held:?}, {resident} KiB resident");
    // Each is known by its tuple in both directions.
    ensure!(held.entries == 2 * FLOWS, "{held:?}");
    ensure!(resident <= MOST_KIB, "{resident} KiB resident");
    // The last one is counted like the first.
    let last = FLOWS - 1;
    agent.ask::<()>("POST", &path(last, "begin"), &short())?;
    agent.ask::<RoundSide>("POST", &path(last, "run"), &short())?;
    agent.ask::<RoundSide>("POST", &path(last, "end"), &())?;
    let side: RunSide = agent.ask("POST", &path(last, "finish"), &())?;
    ensure!(!side.edges.is_empty(), "nothing was counted");
    for number in 0..FLOWS {
        agent.ask::<()>("DELETE", &format!("/v1/runs/run-{number}"), &())?;
    }
    ensure!(Held::by(agent.id())?.entries == 0);
    Ok(())
}
