//! Which eBPF programs there are while agents work, and after they ended, by whatever death: told by
//! the kernel's own list of programs and links. And nobody counts what is another one's.

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{loaded_links, loaded_programs};
use nettoll_core::{
    api::{Prepared, RoundSide, RoundSpec, RunSide},
    hop::{Direction, Event},
    kernel::TRACEPOINTS,
    report::TestType,
};
use nettoll_lab::{Lab, Network, plan::Node};
use nettoll_tests::{
    agent::{Agent, Certificates},
    bed,
    loopback::loopback,
    require_root,
};

/// The kernel takes programs down some time after their last descriptor is closed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a program's name that the kernel keeps.
const NAME_BYTES: usize = 15;
/// The hooks of a test whose packets a thread stamps; the other two are for streams.
const ATTACHED: usize = 8;

/// How many programs of the probe are loaded, and how many are attached, by their names.
fn programs() -> BTreeMap<String, (usize, usize)> {
    let names: Vec<_> = TRACEPOINTS
        .iter()
        .map(|hook| hook.name.get(..NAME_BYTES).unwrap_or(hook.name))
        .collect();
    let mut found: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut by_id = BTreeMap::new();
    // One that goes meanwhile is not there.
    for program in loaded_programs().flatten() {
        let name = program.name_as_str().unwrap_or_default();
        if names.contains(&name) {
            by_id.insert(program.id(), name.to_owned());
            found.entry(name.to_owned()).or_default().0 += 1;
        }
    }
    for link in loaded_links().flatten() {
        if let Some(name) = by_id.get(&link.program_id()) {
            found.entry(name.clone()).or_default().1 += 1;
        }
    }
    found
}

/// Waits until so many agents have their programs loaded, and so many have them attached, each once.
fn wait_for(loaded: usize, attached: usize) -> Result<()> {
    let begin = Instant::now();
    loop {
        let found = programs();
        let whole = found.values().all(|(count, _)| *count == loaded);
        let links: usize = found.values().map(|(_, links)| links).sum();
        let named = if loaded == 0 { 0 } else { TRACEPOINTS.len() };
        if whole && found.len() == named && links == attached * ATTACHED {
            return Ok(());
        }
        ensure!(
            begin.elapsed() < PATIENCE,
            "{loaded} loaded and {attached} attached are not there, but {found:?}"
        );
        sleep(Duration::from_millis(20));
    }
}

/// A run over a node's loopback device, with the probe.
struct Run<'a> {
    agent: &'a Agent,
    id: &'static str,
}

const ROUND: RoundSpec = RoundSpec {
    pair: 0,
    sequence: 0,
    probe: true,
    calibrate: None,
    seconds: 0.3,
};

impl<'a> Run<'a> {
    /// Its first round is open: the probe is attached.
    fn begin(agent: &'a Agent, node: &Node, id: &'static str) -> Result<Self> {
        let run = Self { agent, id };
        let spec = loopback(agent, node, id, TestType::TcpRr)?;
        agent.ask::<Prepared>("POST", "/v1/runs", &spec)?;
        run.post::<()>("start", &())?;
        run.post::<()>("begin", &ROUND)?;
        Ok(run)
    }

    fn post<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        body: &impl serde::Serialize,
    ) -> Result<T> {
        self.agent
            .ask("POST", &format!("/v1/runs/{}/{what}", self.id), body)
    }

    /// The traffic: how many requests it was.
    fn traffic(&self) -> Result<u64> {
        let side: RoundSide = self.post("run", &ROUND)?;
        ensure!(side.transactions > 100, "{side:?}");
        Ok(side.transactions)
    }

    /// The end: each request was counted once, and so was each response.
    fn check(self, requests: u64) -> Result<()> {
        self.post::<RoundSide>("end", &())?;
        let side: RunSide = self.post("finish", &())?;
        for direction in [Direction::Request, Direction::Response] {
            let edges = side.edges.iter().filter(|it| it.direction == direction);
            let mut edges = edges.filter(|it| it.from.event == Event::StartXmit);
            let packets = edges.next().context("no edge")?.packets;
            ensure!(
                edges.next().is_none() && packets.abs_diff(requests) * 100 <= requests,
                "{packets} packets of {requests} requests: {:?}",
                side.edges
            );
        }
        self.agent
            .ask("DELETE", &format!("/v1/runs/{}", self.id), &())
    }
}

fn up() -> Result<(Lab, Certificates)> {
    require_root()?;
    wait_for(0, 0).context("somebody else's agent is on this machine")?;
    Ok((
        Lab::up(&bed::options(Network::Vxlan))?,
        Certificates::new()?,
    ))
}

#[test]
fn an_idle_agent_has_no_program_attached_and_an_ended_one_none_at_all() -> Result<()> {
    let (lab, certificates) = up()?;
    let node = &lab.plan().nodes[0];
    let agent = Agent::start(node, &certificates)?;
    wait_for(0, 0).context("before its first run")?;
    let run = Run::begin(&agent, node, "one")?;
    wait_for(1, 1)?;
    let requests = run.traffic()?;
    run.check(requests)?;
    wait_for(1, 0).context("after its run")?;
    ensure!(agent.signal(libc::SIGTERM)?.success());
    wait_for(0, 0).context("after its end")
}

#[test]
fn an_agent_that_was_killed_leaves_nothing_and_the_next_one_counts_nothing_twice() -> Result<()> {
    let (lab, certificates) = up()?;
    let node = &lab.plan().nodes[0];
    for _ in 0..3 {
        let agent = Agent::start(node, &certificates)?;
        let _run = Run::begin(&agent, node, "killed")?;
        wait_for(1, 1)?;
        agent.kill()?;
        // The next one does not wait until the kernel has taken these programs down.
        let agent = Agent::start(node, &certificates)?;
        let run = Run::begin(&agent, node, "next")?;
        let requests = run.traffic()?;
        wait_for(1, 1)?;
        run.check(requests)?;
        agent.kill()?;
        wait_for(0, 0)?;
    }
    Ok(())
}

#[test]
fn two_agents_count_their_own_packets_and_take_their_own_programs_away() -> Result<()> {
    let (lab, certificates) = up()?;
    let [one, two] = [&lab.plan().nodes[0], &lab.plan().nodes[1]];
    let first = Agent::start(one, &certificates)?;
    let second = Agent::start(two, &certificates)?;
    let [a, b] = [
        Run::begin(&first, one, "a")?,
        Run::begin(&second, two, "b")?,
    ];
    wait_for(2, 2)?;
    let (of_a, of_b) = (a.traffic()?, b.traffic()?);
    a.check(of_a)?;
    wait_for(2, 1)?;
    b.check(of_b)?;
    wait_for(2, 0)?;

    let a = Run::begin(&first, one, "a")?;
    let _b = Run::begin(&second, two, "b")?;
    wait_for(2, 2)?;
    second.kill()?;
    let requests = a.traffic()?;
    wait_for(1, 1).context("one of two was killed")?;
    a.check(requests)?;
    ensure!(first.signal(libc::SIGTERM)?.success());
    wait_for(0, 0)
}
