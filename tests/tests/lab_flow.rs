//! The probe follows the run's own flow and nothing else, and an agent survives what a
//! controller may do to it. The test speaks with two agents as a controller does.

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    api::{
        FlowTuple, Place, Prepared, ResolveRequest, Resolved, Role, RoundSide, RoundSpec, RunSide,
        RunSpec,
    },
    endpoint::{Path, PathKind},
    report::{Options, Program, TestType},
};
use nettoll_lab::{Lab, Network, plan::PodNetwork};
use nettoll_tests::{
    agent::{Agent, Certificates},
    bed::{self, Pair},
    require_root,
};

const ADDRESSES: [&str; 2] = ["198.18.1.2", "198.18.2.2"];
const NODES: [&str; 2] = ["198.18.0.1", "198.18.0.2"];
const RUN: &str = "the-run";
const PODS: [&str; 2] = ["pod/lab/n1-a", "pod/lab/n2-a"];

struct Bed {
    agents: [Agent; 2],
    lab: Lab,
}

impl Bed {
    fn up() -> Result<Self> {
        require_root()?;
        let lab = Lab::up(&bed::options(Network::Vxlan))?;
        let certificates = Certificates::new()?;
        let start = |index: usize| Agent::start(&lab.plan().nodes[index], &certificates);
        Ok(Self {
            agents: [start(0)?, start(1)?],
            lab,
        })
    }

    fn spec(&self) -> Result<RunSpec> {
        let mut devices = Vec::new();
        let mut places = Vec::new();
        for (own, other) in [(0, 1), (1, 0)] {
            let request = ResolveRequest {
                endpoint: PODS[own].parse()?,
                pod_uid: None,
                local_address: ADDRESSES[own].parse()?,
                peer_address: ADDRESSES[other].parse()?,
                peer_node_address: Some(NODES[other].parse()?),
            };
            let resolved: Resolved = self.agents[own].ask("POST", "/v1/resolve", &request)?;
            devices.extend(resolved.devices);
            places.push(Place {
                endpoint: PODS[own].parse()?,
                pod_uid: None,
                netns: resolved.netns,
                address: ADDRESSES[own].parse()?,
            });
        }
        let (server, client) = (
            places.pop().context("no place")?,
            places.pop().context("no place")?,
        );
        Ok(RunSpec {
            id: RUN.to_owned(),
            path: Path {
                kind: PathKind::PodToPod,
                from: PODS[0].parse()?,
                to: PODS[1].parse()?,
                network: Some("vxlan".to_owned()),
            },
            test: TestType::TcpRr,
            options: Options {
                seconds: 1.0,
                rounds: 1,
                warmup_ms: 10,
                message_bytes: 131_072,
                request_bytes: 64,
                response_bytes: 64,
                sample_hz: 997,
                mss_bytes: None,
                datagram_bytes: 1_400,
                rate_bits_per_second: None,
            },
            role: Role::Client,
            client,
            server,
            port: 9481,
            service: None,
            devices,
            count_nodes: Vec::new(),
            sample: false,
        })
    }

    /// One round between whose marks `traffic` runs; what both agents counted in it.
    fn round(&self, traffic: impl FnOnce(&Self, &RoundSpec) -> Result<()>) -> Result<[RunSide; 2]> {
        let [client, server] = &self.agents;
        let spec = self.spec()?;
        let of = |role, node: &str| RunSpec {
            role,
            count_nodes: vec![node.to_owned()],
            ..spec.clone()
        };
        let _: Prepared = server.ask("POST", "/v1/runs", &of(Role::Server, "n2"))?;
        let prepared: Prepared = client.ask("POST", "/v1/runs", &of(Role::Client, "n1"))?;
        let flow = prepared.flow.context("the client's agent told no flow")?;
        let at_server: FlowTuple = server.ask("POST", &at("flow"), &flow)?;
        ensure!(at_server == flow, "nothing is translated: {at_server:?}");
        let _: () = client.ask("POST", &at("start"), &())?;
        let round = RoundSpec {
            pair: 0,
            sequence: 0,
            probe: true,
            calibrate: None,
            seconds: 0.5,
        };
        for agent in [server, client] {
            let _: () = agent.ask("POST", &at("begin"), &round)?;
        }
        traffic(self, &round)?;
        for agent in [server, client] {
            let _: RoundSide = agent.ask("POST", &at("end"), &())?;
        }
        let finish = |agent: &Agent| agent.ask::<RunSide>("POST", &at("finish"), &());
        let sides = [finish(client)?, finish(server)?];
        for agent in [server, client] {
            let _: () = agent.ask("DELETE", &format!("/v1/runs/{RUN}"), &())?;
        }
        Ok(sides)
    }
}

/// Where the run is asked for something.
fn at(what: &str) -> String {
    format!("/v1/runs/{RUN}/{what}")
}

fn packets(side: &RunSide) -> u64 {
    side.edges.iter().map(|edge| edge.packets).sum()
}

#[test]
fn a_wrong_flow_shows_nothing_and_not_somebody_elses() -> Result<()> {
    let bed = Bed::up()?;
    // The run's own traffic is counted.
    let mut requests = 0;
    let sides = bed.round(|bed, round| {
        let side: RoundSide = bed.agents[0].ask("POST", &at("run"), round)?;
        requests = side.transactions;
        Ok(())
    })?;
    ensure!(requests > 100, "{requests} requests");
    for side in &sides {
        ensure!(
            packets(side) > requests,
            "{}: {} packets",
            side.node,
            packets(side)
        );
    }
    // Between the same marks, over the same devices: somebody else's.
    const OTHERS: u64 = 1_000;
    let sides = bed.round(|bed, _| {
        let pair = Pair::new(&bed.lab, PodNetwork::Vxlan)?;
        pair.send(OTHERS, 64).map(drop)
    })?;
    for side in &sides {
        let sum = |of: fn(&Program) -> u64| side.programs.iter().map(of).sum::<u64>();
        let (matched, runs) = (sum(|program| program.matched), sum(|program| program.runs));
        println!("{}: {matched} matched of {runs} runs", side.node);
        ensure!(runs > OTHERS, "the programs were not attached");
        ensure!(
            matched == 0 && packets(side) == 0 && side.self_times.is_empty(),
            "{}: {} packets of a flow that is not the run's",
            side.node,
            packets(side)
        );
    }
    Ok(())
}
