//! A lab with two agents, and runs between the first pods of both nodes. A test speaks with the agents
//! as a controller does, so that it can look at the kernel's counters at a round's marks.

use anyhow::{Context as _, Result};
use nettoll_core::{
    api::{
        FlowTuple, Place, Prepared, ResolveRequest, Resolved, Role, RoundSide, RoundSpec, RunSide,
        RunSpec, TRAFFIC_PORT_FIRST, Times,
    },
    device::Device,
    endpoint::{Path, PathKind},
    report::{Options, TestType},
    stage::{self, End, Journey, Waterfall},
};
use nettoll_lab::{
    Lab, Network,
    plan::{Node, PodNetwork},
};

use crate::{
    agent::{Agent, Certificates},
    bed, require_root,
};

const WARMUP_MS: u32 = 20;

/// The bed.
pub struct Pods {
    /// The agent of the first node.
    pub client: Agent,
    /// The agent of the second node.
    pub server: Agent,
    lab: Lab,
}

impl Pods {
    /// Brings it up.
    ///
    /// # Errors
    /// Without root or binaries, or where it does not come up.
    pub fn up() -> Result<Self> {
        require_root()?;
        let lab = Lab::up(&bed::without_services(Network::Vxlan))?;
        let certificates = Certificates::new()?;
        let [client, server] =
            [0, 1].map(|node| Agent::start(&lab.plan().nodes[node], &certificates));
        Ok(Self {
            client: client?,
            server: server?,
            lab,
        })
    }

    /// A node.
    #[must_use]
    pub fn node(&self, index: usize) -> &Node {
        &self.lab.plan().nodes[index]
    }

    /// The namespace of a node's first pod.
    #[must_use]
    pub fn pod(&self, index: usize) -> String {
        self.node(index).pods[0].netns()
    }

    /// A node's first pod as one end of a path, and the devices of the node.
    fn place(&self, index: usize) -> Result<(Place, Vec<Device>)> {
        let address = |index: usize| self.node(index).pods[0].address(PodNetwork::Vxlan).into();
        let (agent, other) = if index == 0 {
            (&self.client, 1)
        } else {
            (&self.server, 0)
        };
        let ask = ResolveRequest {
            endpoint: format!("pod/lab/{}", self.node(index).pods[0].name).parse()?,
            pod_uid: None,
            local_address: address(index),
            peer_address: address(other),
            peer_node_address: Some(self.node(other).address().into()),
        };
        let Resolved { netns, devices, .. } = agent.ask("POST", "/v1/resolve", &ask)?;
        let place = Place {
            endpoint: ask.endpoint,
            pod_uid: None,
            netns,
            address: ask.local_address,
        };
        Ok((place, devices))
    }

    /// A run between the pods, for the client's agent; each agent counts on its own node.
    ///
    /// # Errors
    /// Where an agent does not resolve its end.
    pub fn spec(&self, test: TestType) -> Result<RunSpec> {
        let ((client, mut devices), (server, others)) = (self.place(0)?, self.place(1)?);
        devices.extend(others);
        Ok(RunSpec {
            id: test.as_str().to_owned(),
            path: Path {
                kind: PathKind::PodToPod,
                from: client.endpoint.clone(),
                to: server.endpoint.clone(),
                network: Some("vxlan".to_owned()),
            },
            test,
            options: Options {
                seconds: 1.0,
                rounds: 1,
                warmup_ms: WARMUP_MS,
                message_bytes: 131_072,
                request_bytes: 64,
                response_bytes: 64,
                sample_hz: 0,
                mss_bytes: None,
                datagram_bytes: 1_400,
                rate_bits_per_second: None,
            },
            role: Role::Client,
            client,
            server,
            port: TRAFFIC_PORT_FIRST,
            service: None,
            devices,
            count_nodes: vec!["n1".to_owned()],
            sample: false,
        })
    }

    /// Prepares, connects and warms up.
    ///
    /// # Errors
    /// Where an agent refuses.
    pub fn begin_run(&self, spec: &RunSpec) -> Result<FlowTuple> {
        let of_server = RunSpec {
            role: Role::Server,
            count_nodes: vec!["n2".to_owned()],
            // Both are one kernel.
            sample: false,
            ..spec.clone()
        };
        self.server
            .ask::<Prepared>("POST", "/v1/runs", &of_server)?;
        let prepared: Prepared = self.client.ask("POST", "/v1/runs", spec)?;
        let flow: FlowTuple = prepared.flow.context("the client has no flow")?;
        self.server
            .ask::<FlowTuple>("POST", &format!("/v1/runs/{}/flow", spec.id), &flow)?;
        self.client
            .ask::<()>("POST", &format!("/v1/runs/{}/start", spec.id), &())?;
        Ok(flow)
    }

    /// One round; what both sides measured.
    ///
    /// # Errors
    /// Where an agent refuses.
    pub fn round(&self, id: &str, round: &RoundSpec) -> Result<(RoundSide, RoundSide)> {
        self.between_marks(id, [round, round], || self.run(id, round))
    }

    /// The traffic of a round that has begun; what the client measured.
    ///
    /// # Errors
    /// Where its agent refuses.
    pub fn run(&self, id: &str, round: &RoundSpec) -> Result<RoundSide> {
        self.client
            .ask("POST", &format!("/v1/runs/{id}/run"), round)
    }

    /// Does something between the marks of a round, as the client's agent and the server's know it;
    /// what that gave, and what the server measured.
    ///
    /// # Errors
    /// Where an agent refuses.
    pub fn between_marks<T>(
        &self,
        id: &str,
        [of_client, of_server]: [&RoundSpec; 2],
        traffic: impl FnOnce() -> Result<T>,
    ) -> Result<(T, RoundSide)> {
        let path = |what| format!("/v1/runs/{id}/{what}");
        self.server.ask::<()>("POST", &path("begin"), of_server)?;
        self.client.ask::<()>("POST", &path("begin"), of_client)?;
        let given = traffic()?;
        let server = self.server.ask("POST", &path("end"), &())?;
        self.client.ask::<RoundSide>("POST", &path("end"), &())?;
        Ok((given, server))
    }

    /// What both sides counted in the rounds with the probe.
    ///
    /// # Errors
    /// Where an agent refuses.
    pub fn finish(&self, id: &str) -> Result<[RunSide; 2]> {
        let finish = |agent: &Agent| agent.ask("POST", &format!("/v1/runs/{id}/finish"), &());
        Ok([finish(&self.client)?, finish(&self.server)?])
    }

    /// Frees what the run holds.
    ///
    /// # Errors
    /// Where an agent refuses.
    pub fn end_run(&self, id: &str) -> Result<()> {
        for agent in [&self.client, &self.server] {
            agent.ask::<()>("DELETE", &format!("/v1/runs/{id}"), &())?;
        }
        Ok(())
    }
}

/// Where the time of a run between the pods went, as a controller derives it.
#[must_use]
pub fn waterfall(spec: &RunSpec, sides: &[&RunSide], rtt: Option<&Times>) -> Waterfall {
    let end = |node, netns| End { node, netns };
    stage::waterfall(&Journey {
        sides,
        devices: &spec.devices,
        client: end("n1", spec.client.netns),
        server: end("n2", spec.server.netns),
        one_kernel: true,
        rtt_mean_ns: rtt.map(|rtt| rtt.sum_ns as f64 / rtt.count as f64),
        requests: rtt.map_or(0, |rtt| rtt.count),
    })
}

/// A round of half a second.
#[must_use]
pub fn round(probe: bool) -> RoundSpec {
    RoundSpec {
        pair: 0,
        sequence: 0,
        probe,
        calibrate: None,
        seconds: 0.5,
    }
}
