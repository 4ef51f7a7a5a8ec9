//! The probe follows the run's own flow and nothing else, and an agent survives what a
//! controller may do to it. The test speaks with two agents as a controller does.

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    api::{
        FlowTuple, Place, Prepared, ResolveRequest, Resolved, Role, RoundSide, RoundSpec, RunSide,
        RunSpec,
    },
    endpoint::{Path, PathKind},
    report::{Options, TestType},
};
use nettoll_lab::{Lab, Network};
use nettoll_tests::{
    agent::{Agent, Certificates},
    bed, require_root,
};

const ADDRESSES: [&str; 2] = ["198.18.1.2", "198.18.2.2"];
const NODES: [&str; 2] = ["198.18.0.1", "198.18.0.2"];
const PODS: [&str; 2] = ["pod/lab/n1-a", "pod/lab/n2-a"];

struct Bed {
    agents: [Agent; 2],
    _lab: Lab,
}

impl Bed {
    fn up() -> Result<Self> {
        require_root()?;
        let lab = Lab::up(&bed::options(Network::Vxlan))?;
        let certificates = Certificates::new()?;
        let start = |index: usize| Agent::start(&lab.plan().nodes[index], &certificates);
        Ok(Self { agents: [start(0)?, start(1)?], _lab: lab })
    }

    fn spec(&self) -> Result<RunSpec> {
        let mut devices = Vec::new();
        let mut places = Vec::new();
        for (own, other) in [(0, 1), (1, 0)] {
            let request = ResolveRequest {
                endpoint: PODS[own].parse()?,
                local_address: ADDRESSES[own].parse()?,
                peer_address: ADDRESSES[other].parse()?,
                peer_node_address: Some(NODES[other].parse()?),
            };
            let resolved: Resolved = self.agents[own].ask("POST", "/v1/resolve", &request)?;
            devices.extend(resolved.devices);
            places.push(Place {
                endpoint: PODS[own].parse()?,
                netns: resolved.netns,
                address: ADDRESSES[own].parse()?,
            });
        }
        let (server, client) = (places.pop().context("no place")?, places.pop().context("no place")?);
        Ok(RunSpec {
            id: "wrong-flow".to_owned(),
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
            },
            role: Role::Client,
            client,
            server,
            port: 9480,
            devices,
            count_nodes: Vec::new(),
            sample: false,
        })
    }

    /// One round; `change` is what the server's agent is told instead of the flow.
    fn round(&self, change: impl Fn(FlowTuple) -> FlowTuple) -> Result<(u64, [RunSide; 2])> {
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
        let at = |what: &str| format!("/v1/runs/{}/{what}", spec.id);
        let _: () = server.ask("POST", &at("flow"), &change(flow))?;
        let _: () = client.ask("POST", &at("start"), &())?;
        let round = RoundSpec { pair: 0, sequence: 0, probe: true, calibrate: false, seconds: 0.5 };
        for agent in [server, client] {
            let _: () = agent.ask("POST", &at("begin"), &round)?;
        }
        let side: RoundSide = client.ask("POST", &at("run"), &round)?;
        for agent in [server, client] {
            let _: RoundSide = agent.ask("POST", &at("end"), &())?;
        }
        let finish = |agent: &Agent| agent.ask::<RunSide>("POST", &at("finish"), &());
        let sides = [finish(client)?, finish(server)?];
        for agent in [server, client] {
            let _: () = agent.ask("DELETE", &format!("/v1/runs/{}", spec.id), &())?;
        }
        Ok((side.transactions, sides))
    }
}

fn packets(side: &RunSide) -> u64 {
    side.edges.iter().map(|edge| edge.packets).sum()
}

#[test]
fn a_wrong_flow_shows_nothing_and_not_somebody_elses() -> Result<()> {
    let bed = Bed::up()?;
    let (requests, [client, server]) = bed.round(|flow| flow)?;
    ensure!(requests > 100 && packets(&client) > requests && packets(&server) > requests);

    let (requests, [client, server]) = bed.round(|mut flow| {
        let other = flow.client.port() ^ 1;
        flow.client.set_port(other);
        flow
    })?;
    ensure!(packets(&client) > requests, "the client's agent was told the right flow");
    ensure!(
        packets(&server) == 0 && server.self_times.is_empty(),
        "the server's agent counted {} packets of a flow that is not the run's",
        packets(&server)
    );
    let matched: u64 = server.programs.iter().map(|program| program.matched).sum();
    let runs: u64 = server.programs.iter().map(|program| program.runs).sum();
    ensure!(matched == 0 && runs > requests, "{matched} matched of {runs} runs");
    Ok(())
}
