//! Light rounds: the little traffic that never ends, by a plan that an agent goes on with by
//! itself.
//!
//! The controller puts a [`LightPlan`] whenever it changes, and fetches [`LightResults`] again
//! and again. Both are news of the controller: without any for [`LightPlan::idle_seconds`] an
//! agent drops its plan.

mod check;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

pub use self::check::LightPlanError;
use super::{Protocol, Times};
use crate::{
    endpoint::{Endpoint, Path, PathKind},
    report::Stage,
};

/// Port of the light rounds' clients, unless a plan says another one.
pub const LIGHT_CLIENT_PORT: u16 = 9478;
/// Port of the light rounds' responders, unless a plan says another one.
pub const LIGHT_PORT: u16 = 9479;
/// The longest that an agent goes on with a plan of which nobody speaks.
pub const LIGHT_IDLE_SECONDS: u32 = 600;
/// An edge that is new to an agent has its first round within this time.
pub const LIGHT_FIRST_ROUND_MS: u32 = 10_000;
/// Most edges of a plan.
pub const MAX_LIGHT_EDGES: usize = 64;
/// Most responders of a plan.
pub const MAX_LIGHT_RESPONDERS: usize = 8;
/// Most watches of a plan.
pub const MAX_LIGHT_WATCHES: usize = 64;
/// Most rounds that an agent keeps for the controller to fetch.
pub const MAX_LIGHT_ROUNDS: usize = 1_024;
/// Most rounds in one answer.
pub const MAX_LIGHT_ROUNDS_PER_ANSWER: usize = 128;

/// What light traffic an agent makes and answers. It replaces the plan before; responders and
/// edges that are in both go on undisturbed.
///
/// A round is a number of requests in an open loop: each is sent at its time, whether or not the ones
/// before were answered. Over UDP they are datagrams; over TCP all of a round go over one connection,
/// which is opened for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightPlan {
    /// The controller's name of the plan, 1 to 64 of `[A-Za-z0-9._-]`.
    pub version: String,
    /// From one round of an edge to its next.
    pub period_ms: u32,
    /// Requests of a round.
    pub requests: u32,
    /// Payload of a request and of its response.
    pub payload_bytes: u32,
    /// How fast the requests of a round follow each other.
    pub requests_per_second: u32,
    /// A request that is not answered in this time is lost.
    pub timeout_ms: u32,
    /// The plan ends after this time without a request about it: from 1 s to
    /// [`LIGHT_IDLE_SECONDS`].
    #[serde(default = "longest_idle_seconds")]
    pub idle_seconds: u32,
    /// Where this agent answers.
    pub responders: Vec<LightResponder>,
    /// What this agent asks.
    pub edges: Vec<LightEdge>,
    /// What other agents ask this one with the probe on both nodes, in rounds of the same period.
    #[serde(default)]
    pub watches: Vec<LightWatch>,
}

fn longest_idle_seconds() -> u32 {
    LIGHT_IDLE_SECONDS
}

impl Default for LightPlan {
    /// Nothing to do, with the numbers of the default mesh.
    fn default() -> Self {
        Self {
            version: "none".to_owned(),
            period_ms: 30_000,
            requests: 50,
            payload_bytes: 64,
            requests_per_second: 100,
            timeout_ms: 1_000,
            idle_seconds: LIGHT_IDLE_SECONDS,
            responders: Vec::new(),
            edges: Vec::new(),
            watches: Vec::new(),
        }
    }
}

/// A place of this agent's node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightPlace {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// As in [`super::ResolveRequest`].
    #[serde(default)]
    pub pod_uid: Option<String>,
    /// Its address.
    pub address: IpAddr,
}

/// Answers light requests on one port of a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightResponder {
    /// Where.
    pub place: LightPlace,
    /// On which port.
    pub port: u16,
    /// Of which protocol.
    #[serde(default = "udp")]
    pub protocol: Protocol,
}

fn udp() -> Protocol {
    Protocol::Udp
}

/// A path that light rounds go over again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightEdge {
    /// Unique in the plan; 1 to 128 printable ASCII characters without space.
    pub id: String,
    /// From where to where.
    pub path: Path,
    /// Where the requests come from, on this agent's node.
    pub from: LightPlace,
    /// Where they go.
    pub to: IpAddr,
    /// Address of the node of `to`, by which the probe finds the device of the nodes' network;
    /// `null` where that is this agent's node.
    #[serde(default)]
    pub to_node: Option<IpAddr>,
    /// What the requests go over.
    #[serde(default = "udp")]
    pub protocol: Protocol,
    /// UDP port that the requests come from. Edges from one place may share it. 0 over TCP: the
    /// kernel chooses one for each connection.
    pub from_port: u16,
    /// Port that the requests go to.
    pub to_port: u16,
    /// When in the period its rounds begin.
    pub offset_ms: u32,
    /// The probe follows the rounds on this agent's node. They are announced to the responder, so
    /// that its agent's probe can follow them too. Of rounds over UDP alone.
    pub probe: bool,
}

/// The rounds of another agent's edge that this agent's probe follows, as that one announces them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightWatch {
    /// The edge's id in the plan of that agent.
    pub edge: String,
    /// What lies between its ends.
    pub path: PathKind,
    /// Which of this plan's responders answers.
    pub responder: LightResponder,
    /// Where the requests come from.
    pub from: SocketAddr,
    /// Address of the node of `from`, as [`LightEdge::to_node`].
    #[serde(default)]
    pub from_node: Option<IpAddr>,
}

/// What came of an agent's plan since the controller asked last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightResults {
    /// The plan's version; `null` where the agent has none (any more).
    pub version: Option<String>,
    /// Differs for each start of the agent: sequences of another start say nothing about this
    /// one's, so after a change the controller asks from 0.
    pub instance: u64,
    /// What to ask after next time. As long as an answer has rounds, there may be more.
    pub next: u64,
    /// Rounds after the asked sequence that are not kept any more.
    pub missed: u64,
    /// The rounds, oldest first.
    pub rounds: Vec<LightRound>,
    /// The plan's responders.
    pub responders: Vec<LightResponderState>,
    /// The last round of each of the plan's watches that had one.
    #[serde(default)]
    pub watched: Vec<LightWatched>,
    /// The last answer of each of the plan's edges to whether its path has the MTU that it claims.
    #[serde(default)]
    pub path_mtus: Vec<LightPathMtu>,
}

/// How a responder fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightResponderState {
    /// Which.
    pub responder: LightResponder,
    /// Requests answered since it was opened.
    pub answered: u64,
    /// Why it does not answer; it is tried again.
    pub failed: Option<String>,
}

/// A round of another agent's edge, as this one saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightWatched {
    /// The edge's id.
    pub edge: String,
    /// As [`LightRound::first_sequence`].
    pub first_sequence: u64,
    /// Time since it ended, when it is told.
    pub age_ms: u64,
    /// Its requests that were answered while the probe was there.
    pub answered: u64,
    /// What the probe saw on this agent's node; empty without it.
    pub stages: Vec<Stage>,
    /// Why the probe was not there, or what it saw is not told.
    pub no_probe: Option<String>,
}

/// Whether a path carries packets as large as its first device and route claim.
///
/// Once an hour, after a round with answers, the agent sends a request of that size which nobody on
/// the way may fragment, and its answer comes back in the same size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightPathMtu {
    /// The edge's id.
    pub edge: String,
    /// Time since it was tested, when it is told.
    pub age_ms: u64,
    /// The size of the packet: the claimed MTU.
    pub bytes: u32,
    /// It came back. `false` only after two tests in a row without an answer, with an answered
    /// round of small requests between them.
    pub ok: bool,
    /// Why the kernel would not send it, where it did not.
    pub refused: Option<String>,
}

/// One round of one edge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightRound {
    /// Its number among all rounds of this start of the agent, from 1.
    pub sequence: u64,
    /// The edge's id.
    pub edge: String,
    /// Sequence of the round's first request. No other round of the edge has it, so that what both
    /// agents saw of one round can be joined.
    pub first_sequence: u64,
    /// Time since it ended, when it is told.
    pub age_ms: u64,
    /// Requests that were due: `answered` and `lost`.
    pub sent: u64,
    /// Those with an answer in time.
    pub answered: u64,
    /// Those without.
    pub lost: u64,
    /// From each answered request to its answer. Over TCP it counts from the time at which the
    /// request was handed to the connection, which may hold it back.
    pub rtt: Times,
    /// From the time at which the answered requests were due until they were sent, in all: how
    /// late the agent itself was, and in no round-trip time. Nothing on the path is in it: what
    /// delays a request there is in its round-trip time.
    pub late_ns: u64,
    /// Why the kernel refused to send, or why there was no TCP connection or it broke, where that
    /// was so; these requests are lost.
    pub refused: Option<String>,
    /// What the probe saw on this agent's node; empty in rounds without it.
    pub stages: Vec<Stage>,
    /// Why the probe was not there although the edge asks for it, or what it saw is not told.
    pub no_probe: Option<String>,
    /// Why this round says nothing about the network: the agent could not make it, or was kept
    /// from running. `sent` may be 0 then.
    pub failed: Option<String>,
}
