//! Two agents of a lab that make light rounds with each other.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nettoll_core::{
    api::{
        LIGHT_CLIENT_PORT, LIGHT_PORT, LightEdge, LightPathMtu, LightPlace, LightPlan,
        LightResponder, LightResults, LightRound, LightWatch, LightWatched, Protocol,
    },
    endpoint::{Endpoint, Path, PathKind},
};
use nettoll_lab::{
    Lab, Network, Options, Underlay,
    plan::{Node, POD_NAMESPACE, PodNetwork},
};

use crate::{
    agent::{Agent, Certificates},
    bed::options,
    require_root,
};

/// Id of the edge between the nodes.
pub const HOST: &str = "host";
/// Id of the edge between the pods.
pub const POD: &str = "pod";
/// For what a plan says to come about.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A lab with an agent on each node.
pub struct Mesh {
    /// The bed.
    pub lab: Lab,
    /// The agent that asks.
    pub first: Agent,
    /// The agent that answers.
    pub second: Agent,
    /// The agents read them again and again.
    _certificates: Certificates,
    instance: u64,
    next: u64,
}

impl Mesh {
    /// Brings a lab and its agents up.
    ///
    /// # Errors
    /// Without root or binaries, or where something does not come up.
    pub fn up() -> Result<Self> {
        Self::over(Underlay::Veth)
    }

    /// As [`Self::up`], over another underlay.
    ///
    /// # Errors
    /// As [`Self::up`].
    pub fn over(underlay: Underlay) -> Result<Self> {
        require_root()?;
        let lab = Lab::up(&Options {
            underlay,
            ..options(Network::Vxlan)
        })?;
        let certificates = Certificates::new()?;
        let nodes = &lab.plan().nodes;
        Ok(Self {
            first: Agent::start(&nodes[0], &certificates)?,
            second: Agent::start(&nodes[1], &certificates)?,
            lab,
            _certificates: certificates,
            instance: 0,
            next: 0,
        })
    }

    /// The node that asks and the one that answers.
    #[must_use]
    pub fn nodes(&self) -> (&Node, &Node) {
        let nodes = &self.lab.plan().nodes;
        (&nodes[0], &nodes[1])
    }

    /// The first node asks, the second one answers, and follows what the first one's probe does.
    ///
    /// # Errors
    /// Where an agent refuses.
    pub fn put(&self, plan: &LightPlan) -> Result<()> {
        let (first, second) = self.nodes();
        let used = |protocol: &Protocol| plan.edges.iter().any(|edge| edge.protocol == *protocol);
        let protocols = [Protocol::Udp, Protocol::Tcp].into_iter().filter(used);
        let responders: Vec<_> = (protocols)
            .flat_map(|protocol| responders(second, protocol))
            .collect();
        let answers = LightPlan {
            watches: watches(&plan.edges, first, &responders),
            responders,
            edges: Vec::new(),
            // It goes on to answer when the first one's plan ends.
            idle_seconds: LightPlan::default().idle_seconds,
            ..plan.clone()
        };
        self.second.ask::<()>("PUT", "/v1/light", &answers)?;
        self.first.ask("PUT", "/v1/light", plan)
    }

    /// The rounds since the last call.
    ///
    /// # Errors
    /// Where the agent does not answer, or began anew.
    pub fn rounds(&mut self) -> Result<Vec<LightRound>> {
        let path = format!("/v1/light?after={}", self.next);
        let results: LightResults = self.first.ask("GET", &path, &())?;
        ensure!(
            self.instance == 0 || self.instance == results.instance,
            "another start of the agent"
        );
        (self.instance, self.next) = (results.instance, results.next);
        Ok(results.rounds)
    }

    /// What the node that answers saw of a round.
    ///
    /// # Errors
    /// Where it tells nothing of it in time.
    pub fn watched(&self, round: &LightRound) -> Result<LightWatched> {
        let begin = Instant::now();
        loop {
            let results: LightResults = self.second.ask("GET", "/v1/light", &())?;
            let same = |watched: &LightWatched| {
                (&watched.edge, watched.first_sequence) == (&round.edge, round.first_sequence)
            };
            if let Some(watched) = results.watched.iter().find(|watched| same(watched)) {
                return Ok(watched.clone());
            }
            ensure!(begin.elapsed() < PATIENCE, "{:?}", results.watched);
            sleep(Duration::from_millis(50));
        }
    }

    /// The first test of the MTU of an edge's path.
    ///
    /// # Errors
    /// Where nothing is told of it in time.
    pub fn path_mtu(&self, edge: &str) -> Result<LightPathMtu> {
        let begin = Instant::now();
        loop {
            let results: LightResults = self.first.ask("GET", "/v1/light", &())?;
            let mut tests = results.path_mtus.into_iter();
            if let Some(test) = tests.find(|test| test.edge == edge) {
                return Ok(test);
            }
            ensure!(begin.elapsed() < PATIENCE, "no test of the path's MTU");
            sleep(Duration::from_millis(50));
        }
    }

    /// The next round of an edge for which this holds.
    ///
    /// # Errors
    /// Where none comes in time; the last round that came.
    pub fn until(&mut self, edge: &str, holds: impl Fn(&LightRound) -> bool) -> Result<LightRound> {
        let begin = Instant::now();
        let mut last = None;
        loop {
            for round in self.rounds()? {
                if round.edge == edge && holds(&round) {
                    return Ok(round);
                }
                last = Some(round);
            }
            ensure!(begin.elapsed() < PATIENCE, "the last round: {last:?}");
            sleep(Duration::from_millis(100));
        }
    }
}

/// A node as a place.
#[must_use]
pub fn host(node: &Node) -> LightPlace {
    LightPlace {
        endpoint: Endpoint::Node(node.name.clone()),
        pod_uid: None,
        address: node.address().into(),
    }
}

/// What answers on a node: itself and its first pod.
#[must_use]
pub fn responders(node: &Node, protocol: Protocol) -> [LightResponder; 2] {
    [host(node), pod(node)].map(|place| LightResponder {
        place,
        port: LIGHT_PORT,
        protocol,
    })
}

/// The first pod of a node as a place.
#[must_use]
pub fn pod(node: &Node) -> LightPlace {
    let pod = &node.pods[0];
    LightPlace {
        endpoint: Endpoint::Pod {
            namespace: POD_NAMESPACE.to_owned(),
            name: pod.name.clone(),
        },
        pod_uid: None,
        address: pod.address(PodNetwork::Vxlan).into(),
    }
}

/// An edge without the probe, at the beginning of the period.
#[must_use]
pub fn edge(
    id: &str,
    kind: PathKind,
    from: LightPlace,
    to: &LightPlace,
    to_node: &Node,
) -> LightEdge {
    LightEdge {
        id: id.to_owned(),
        path: Path {
            kind,
            from: from.endpoint.clone(),
            to: to.endpoint.clone(),
            network: None,
        },
        from,
        to: to.address,
        to_node: Some(to_node.address().into()),
        protocol: Protocol::Udp,
        from_port: LIGHT_CLIENT_PORT,
        to_port: LIGHT_PORT,
        offset_ms: 0,
        probe: false,
    }
}

/// What the agent that answers has to follow.
#[must_use]
pub fn watches(
    edges: &[LightEdge],
    from_node: &Node,
    responders: &[LightResponder],
) -> Vec<LightWatch> {
    let watch = |edge: &LightEdge| {
        let answers = |responder: &&LightResponder| {
            (responder.place.address, responder.port, responder.protocol)
                == (edge.to, edge.to_port, edge.protocol)
        };
        Some(LightWatch {
            edge: edge.id.clone(),
            path: edge.path.kind,
            responder: responders.iter().find(answers)?.clone(),
            from: (edge.from.address, edge.from_port).into(),
            from_node: Some(from_node.address().into()),
        })
    };
    let probed = edges.iter().filter(|edge| edge.probe);
    probed.filter_map(watch).collect()
}

/// A plan that does not take long: both edges of the two nodes.
#[must_use]
pub fn plan(mesh: &Mesh, version: &str) -> LightPlan {
    let (first, second) = mesh.nodes();
    let mut pods = edge(POD, PathKind::PodToPod, pod(first), &pod(second), second);
    pods.offset_ms = 700;
    LightPlan {
        version: version.to_owned(),
        period_ms: 1_500,
        requests: 20,
        timeout_ms: 500,
        edges: vec![
            edge(
                HOST,
                PathKind::HostToHost,
                host(first),
                &host(second),
                second,
            ),
            pods,
        ],
        ..LightPlan::default()
    }
}

/// The same plan, its edges over TCP.
#[must_use]
pub fn over_tcp(mut plan: LightPlan) -> LightPlan {
    for edge in &mut plan.edges {
        (edge.protocol, edge.from_port) = (Protocol::Tcp, 0);
    }
    plan
}

/// All requests of a round of [`plan`] were answered.
#[must_use]
pub fn whole(round: &LightRound) -> bool {
    round.failed.is_none() && round.answered == 20 && round.lost == 0
}
