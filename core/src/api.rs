//! What the controller and its agents, and users and the controller, say to each other.
//!
//! **Controller → agent**, HTTP/1.1 and JSON over mutual TLS on port 9470. Agents listen, the
//! controller connects. One run, in order (`side` is one agent; a path on one node has a single
//! agent in role [`Role::Both`]):
//!
//! | request | to | body → answer |
//! |---|---|---|
//! | `GET /v1/info` | all | → [`AgentInfo`] |
//! | `POST /v1/resolve` | both sides | [`ResolveRequest`] → [`Resolved`] |
//! | `POST /v1/runs` | server, then client | [`RunSpec`] → [`Prepared`] |
//! | `POST /v1/runs/ID/flow` | server | [`FlowTuple`], the client's → [`FlowTuple`], the server's |
//! | `POST /v1/runs/ID/start` | client | that, or `null` → `null`: connects |
//! | `POST /v1/runs/ID/begin` | server, then client | [`RoundSpec`] → `null`: a round's first mark |
//! | `POST /v1/runs/ID/run` | client | [`RoundSpec`] → [`RoundSide`]: traffic, returns after it |
//! | `POST /v1/runs/ID/end` | server, then client | `null` → [`RoundSide`]: the round's last mark |
//! | `POST /v1/runs/ID/finish` | both | `null` → [`RunSide`] |
//! | `DELETE /v1/runs/ID` | both | → `null`: whatever state it is in |
//! | `DELETE /v1/runs` | all | → `null`: all runs, before a job of a controller that may be new |
//!
//! Beside runs, at any time ([`light`]):
//!
//! | request | to | body → answer |
//! |---|---|---|
//! | `PUT /v1/light` | all | [`LightPlan`] → `null`: from now on this plan |
//! | `GET /v1/light?after=SEQUENCE` | all | → [`LightResults`]: later rounds than that |
//!
//! The connection is idle at both marks, so that both sides count the same packets. Any error
//! is answered with a status of 400 or above and an [`ErrorBody`]. An agent ends a run that
//! nobody has spoken of for [`RUN_IDLE_SECONDS`].
//!
//! **User → controller**, HTTP/1.1 on the Unix socket or loopback: `POST /api/v1/jobs` with a
//! [`Job`] answers a stream of [`JobEvent`]s, one JSON object a line. Closing the connection
//! cancels the job. `GET /api/v1/inventory` answers an [`Inventory`]; `GET /api/v1/nodes`, `pairs`
//! and `runs` lists of [`NodeSummary`], [`PairSummary`] and [`RunSummary`].

mod exemplar;
mod inventory;
mod job;
pub mod light;
mod lists;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

pub use self::{exemplar::*, inventory::*, job::*, light::*, lists::*};
use crate::{
    datagrams::Arrived,
    device::Device,
    endpoint::{Endpoint, Path},
    hop::{Dropped, Edge, SelfTime},
    report::{DeviceContext, NodeContext, Options, TestType},
};

/// Port of the agents' API.
pub const AGENT_PORT: u16 = 9470;
/// Port of the controller's API, on loopback addresses alone.
pub const CONTROLLER_PORT: u16 = 9472;
/// In Kubernetes: the Lease that says which controller leads. Its holder is that one's pod.
pub const LEASE: &str = "nettoll-controller";
/// Port of the metrics of both.
pub const METRICS_PORT: u16 = 9471;
/// First port of test traffic.
pub const TRAFFIC_PORT_FIRST: u16 = 9480;
/// Last port of test traffic.
pub const TRAFFIC_PORT_LAST: u16 = 9489;
/// Most bytes of a request's body.
pub const MAX_BODY_BYTES: usize = 4 << 20;
/// Status of an agent's refusal that nothing but a change at the endpoint would alter.
pub const LASTING: u16 = 422;
/// An agent ends a run after this time without a request about it.
pub const RUN_IDLE_SECONDS: u64 = 30;
/// Subject alternative name of the agents' certificate.
pub const AGENT_TLS_NAME: &str = "agent.nettoll";
/// Subject alternative name of the controller's certificate; agents accept no other.
pub const CONTROLLER_TLS_NAME: &str = "controller.nettoll";

/// The body of every answer with a status of 400 or above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What was wrong and what to do.
    pub error: String,
}

/// An agent as it describes itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Its node.
    pub context: NodeContext,
    /// The endpoints on this node that it knows.
    pub endpoints: Vec<Endpoint>,
    /// Why the probe cannot be used, `null` where it can.
    pub probe_unavailable: Option<String>,
    /// Why stacks cannot be sampled, `null` where they can.
    pub profile_unavailable: Option<String>,
}

/// Asks an agent for the devices of its node and what they are to one path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveRequest {
    /// The path's endpoint on this node.
    pub endpoint: Endpoint,
    /// UID of the endpoint's pod, by which the agent finds its network namespace. `null` for
    /// nodes, and for pods that the agent's configuration lists.
    #[serde(default)]
    pub pod_uid: Option<String>,
    /// The address of that endpoint which the path uses.
    pub local_address: IpAddr,
    /// The other endpoint's address.
    pub peer_address: IpAddr,
    /// The other node's address, `null` where both endpoints are on this node.
    pub peer_node_address: Option<IpAddr>,
}

/// The devices of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    /// Inode of the endpoint's network namespace.
    pub netns: u32,
    /// All devices in all namespaces of this node, with `underlay` and `endpoint` set for the
    /// asked path.
    pub devices: Vec<Device>,
    /// Settings of the endpoint's own devices, where it is a pod that is known by its UID: those of
    /// all others are in [`AgentInfo::context`].
    #[serde(default)]
    pub settings: Vec<DeviceContext>,
}

/// What an agent does in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It owns the client's socket.
    Client,
    /// It owns the server's socket.
    Server,
    /// It owns both: endpoints on one node, or `path_cost` on one kernel.
    Both,
}

/// One endpoint of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// As in [`ResolveRequest`].
    #[serde(default)]
    pub pod_uid: Option<String>,
    /// Inode of its network namespace, as resolved by its own agent. An agent enters only a
    /// namespace whose inode is this.
    pub netns: u32,
    /// Its address on the path.
    pub address: IpAddr,
}

/// A run, as one agent gets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// Unique, at most 64 of `[A-Za-z0-9_-]`.
    pub id: String,
    /// From where to where.
    pub path: Path,
    /// The type of traffic.
    pub test: TestType,
    /// How.
    pub options: Options,
    /// This agent's part.
    pub role: Role,
    /// Where the client's socket lives.
    pub client: Place,
    /// Where the server's socket lives.
    pub server: Place,
    /// Port on which the server listens.
    pub port: u16,
    /// Where the client connects to, on a path to a service: the service's address, or a node's. Rules
    /// on the way make it the server's.
    #[serde(default)]
    pub service: Option<SocketAddr>,
    /// The devices of both nodes, as resolved.
    pub devices: Vec<Device>,
    /// The nodes whose devices this agent counts hops on: its own, and for `path_cost` on one
    /// kernel the other one as well.
    pub count_nodes: Vec<String>,
    /// This agent samples the kernel's CPUs.
    pub sample: bool,
}

/// Transport protocol of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// A flow's 5-tuple, as one of its ends has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowTuple {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The client's address and port: the source of requests.
    pub client: SocketAddr,
    /// The server's address and port.
    pub server: SocketAddr,
}

/// A flow as both its ends have it: two tuples where addresses are translated between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// As the client's socket has it.
    pub at_client: FlowTuple,
    /// As the server's has it.
    pub at_server: FlowTuple,
    /// As it is between two nodes which both translate, as far as an agent's kernel tells.
    pub between: Option<FlowTuple>,
}

impl From<FlowTuple> for Flow {
    /// Nothing is translated.
    fn from(tuple: FlowTuple) -> Self {
        Self {
            at_client: tuple,
            at_server: tuple,
            between: None,
        }
    }
}

/// Answer to a [`RunSpec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepared {
    /// The flow, from the agent that owns the client's socket: it is bound, not connected.
    pub flow: Option<FlowTuple>,
}

/// One round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundSpec {
    /// The pair of the comparison.
    pub pair: u32,
    /// The order over all runs.
    pub sequence: u32,
    /// The probe is attached in this round.
    pub probe: bool,
    /// With the probe: what the probe takes is measured. No other figure of such a round is of
    /// use, and none is kept.
    #[serde(default)]
    pub calibrate: Option<Calibrate>,
    /// Time between the marks.
    pub seconds: f64,
}

/// What a round calibrates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibrate {
    /// What leaving one program and entering the next takes, see [`RunSide::seam_ns`]. Other
    /// programs than the hops' are attached, and nothing is counted.
    Seams,
    /// The programs' run times. The kernel's BPF statistics are on, which slow every BPF program
    /// of the host. It is the end of what the run measures.
    RunTimes,
}

/// What one side measured in one round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundSide {
    /// Measured time.
    pub seconds: f64,
    /// Payload bytes: on who sends acknowledged by the peer, on who receives read
    /// (`udp_stream`: what arrived, on both, where both are known).
    pub bytes: u64,
    /// Requests with an answer (client), answered (server); those `lost` are not among them.
    pub transactions: u64,
    /// Requests without an answer; datagrams that did not arrive (`udp_stream`), known where both
    /// sides are.
    pub lost: u64,
    /// Datagrams that the client sent (`udp_stream`).
    #[serde(default)]
    pub sent: Option<u64>,
    /// What arrived of them at the server.
    #[serde(default)]
    pub arrived: Option<Arrived>,
    /// Round-trip times (`path_cost`: one way), `null` for streams and on the server.
    pub rtt: Option<Times>,
    /// Busy time of all CPUs of this kernel between the marks, by /proc/stat.
    pub cpu_busy_seconds: Option<f64>,
    /// Of it, the time without interrupts and softirqs.
    pub cpu_tasks_seconds: Option<f64>,
    /// Processor time of this agent between the marks, with the softirqs that ran on its back.
    pub cpu_own_seconds: Option<f64>,
    /// Stolen time of all CPUs between the marks.
    pub cpu_steal_seconds: Option<f64>,
    /// Why this round is no good.
    pub invalid_reason: Option<String>,
    /// What kept the machine from being the test's alone, seen by other means than the round's
    /// figures: the round is no good, and another one may stand in for it.
    pub disturbed: Option<String>,
}

/// A distribution of times on its way to be merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// Number of values.
    pub count: u64,
    /// Exact sum.
    pub sum_ns: u64,
    /// Exact maximum.
    pub max_ns: u64,
    /// `[upper_bound_ns, count]`, ascending; what [`crate::histogram::Histogram`] gives and
    /// takes.
    pub histogram: Vec<(u64, u64)>,
}

/// A stage that a traffic thread sees one end of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserStage {
    /// Receive on the endpoint's device → stamp after the receive call, in one.
    SocketRx,
    /// The same in a test that tells its parts, of a message of which nobody saw the socket tell that
    /// it has the data.
    SocketUnsplit,
    /// Receive on the endpoint's device → the socket tells so, and what a receive call takes that
    /// finds data there.
    SocketWork,
    /// Receive on the endpoint's device → the socket tells so, of a packet that came while a system
    /// call had the socket to itself.
    SocketBacklog,
    /// The socket tells so → the receive call, where that comes later.
    SocketQueue,
    /// The socket tells so → stamp after the receive call, where that was called before.
    Wakeup,
    /// Stamp after the receive call → stamp before the next send call.
    Responder,
    /// `http_rr`: a name → its addresses.
    NameLookup,
    /// `http_rr`: a connection.
    Connect,
    /// `http_rr`: the handshake of TLS.
    Tls,
    /// `http_rr`: the request → the first byte of the answer.
    FirstByte,
}

/// What a traffic thread saw of a stage, in rounds with the probe; of `http_rr` in all rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserTimes {
    /// Which stage.
    pub stage: UserStage,
    /// The side of the thread.
    pub side: crate::hop::Side,
    /// The way of the packets: what the client receives is a response.
    pub direction: crate::hop::Direction,
    /// The times.
    pub times: Times,
}

/// What one side measured in a run, over its rounds with the probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSide {
    /// The agent's node.
    pub node: String,
    /// What lies between hops; `socket_tx` is the edge from [`crate::hop::Event::UserSend`].
    pub edges: Vec<Edge>,
    /// Exact self times, with the seams between the probe's programs.
    pub self_times: Vec<SelfTime>,
    /// What the kernel dropped on the way. `None` where nobody looked.
    #[serde(default)]
    pub drops: Option<Vec<Dropped>>,
    /// Mean time of a seam: leaving one program of the probe after its look at the clock and
    /// entering the next up to its own, with nothing between. `None` where it was not measured.
    #[serde(default)]
    pub seam_ns: Option<f64>,
    /// The parts of `socket_rx`, and `responder`.
    pub user_times: Vec<UserTimes>,
    /// What this agent's traffic threads kept of the slowest requests (`tcp_rr`, `udp_rr`).
    #[serde(default)]
    pub exemplars: Vec<ExemplarSide>,
    /// Of the sender's socket, if it is here.
    pub tcp: Option<crate::report::Tcp>,
    /// Of `http_rr`.
    #[serde(default)]
    pub http: Option<crate::report::Http>,
    /// The probe's programs.
    pub programs: Vec<crate::report::Program>,
    /// The hooks that the probe did without; their stages are not told here.
    #[serde(default)]
    pub missing: Vec<crate::report::MissingHook>,
    /// What the probe lost, by reason, all reasons listed that its hooks tell.
    pub lost: BTreeMap<String, u64>,
    /// Sampled stacks, where this agent sampled.
    pub stacks: Option<Stacks>,
}

/// Sampled stacks of a run's rounds with the probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stacks {
    /// Samples per second and CPU.
    pub hz: u32,
    /// `cpu-clock` or `cycles`.
    pub source: String,
    /// CPUs that were sampled.
    pub cpus: u32,
    /// Samples without a usable stack (map full, collision), by reason.
    pub lost: BTreeMap<String, u64>,
    /// The stacks.
    pub stacks: Vec<Stack>,
}

/// One stack and how often it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// The thread's name, `swapper` when idle.
    pub thread: String,
    /// Outermost function first; empty where the CPU was in user space.
    pub frames: Vec<String>,
    /// How often.
    pub samples: u64,
}
