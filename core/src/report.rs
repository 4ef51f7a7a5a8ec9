//! `nettoll.report/v1`: the result that users keep, compare and feed to other tools.
//!
//! What was not measured is `null`, never 0 and never left out: hence no
//! `skip_serializing_if` in this file. Figures carry their unit in the name.

use serde::{Deserialize, Serialize};

use crate::{
    device::DeviceKind,
    endpoint::{Endpoint, Path, PathKind},
    hop::{Direction, Side},
};

mod context;
mod drops;
mod exemplar;
mod http;
mod options;
mod probe;
mod test;
mod udp;

pub use self::{
    context::Changed,
    drops::Drops,
    exemplar::{Exemplar, ExemplarHop},
    http::Http,
    options::{DATAGRAM_BYTES, MSS_BYTES, Options},
    probe::{MissingHook, Probe, ProbeCost, Program},
    test::TestType,
    udp::Udp,
};

/// The value of [`Report::schema`].
pub const SCHEMA: &str = "nettoll.report/v1";

/// Everything that one command measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// Where and with what it was measured.
    pub context: Context,
    /// One entry for each path and test.
    pub runs: Vec<Run>,
    /// What paths cost beyond their baselines.
    pub tolls: Vec<Toll>,
}

/// What a result depends on besides the path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// Version of nettoll.
    pub nettoll_version: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// The command's arguments.
    pub command: Vec<String>,
    /// Each node's own.
    pub nodes: Vec<NodeContext>,
}

/// One node as its agent found it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeContext {
    /// The node's name.
    pub node: String,
    /// Version of its agent.
    pub agent_version: String,
    /// `uname -r`.
    pub kernel: String,
    /// `/proc/sys/kernel/random/boot_id`: equal for nodes on one kernel.
    pub boot_id: String,
    /// As /proc/cpuinfo names it.
    pub cpu_model: String,
    /// CPUs online.
    pub cpus: u32,
    /// The kernel's clock source.
    pub clock_source: String,
    /// The CNI as found, `null` where none was recognised.
    pub cni: Option<String>,
    /// The devices that the runs' paths can use.
    pub devices: Vec<DeviceContext>,
}

/// A device's settings that decide what it costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceContext {
    /// `node/n1`, `pod/lab/n1-a`.
    pub place: String,
    /// The device's name.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Bytes.
    pub mtu: u32,
    /// The root queueing discipline's kind.
    pub qdisc: Option<String>,
    /// Driver, where the kernel tells.
    pub driver: Option<String>,
    /// The offloads that are on (`tx-udp_tnl-segmentation`, `rx-gro`, …), `null` where the
    /// kernel does not tell.
    pub offloads: Option<Vec<String>>,
}

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Mean over the rounds.
    pub mean: f64,
    /// 95 % interval of the mean, `null` with fewer than two rounds.
    pub ci95: Option<[f64; 2]>,
}

/// A distribution of times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Exact mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Exact maximum.
    pub max: u64,
    /// Number of values.
    pub count: u64,
    /// `[upper_bound_ns, count]`, ascending, empty buckets left out.
    pub histogram: Vec<(u64, u64)>,
}

/// One execution of a test on a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Unique in the report.
    pub id: String,
    /// From where to where.
    pub path: Path,
    /// The pod that answered for the service, on a path to one.
    #[serde(default)]
    pub backend: Option<Endpoint>,
    /// The type of traffic.
    pub test: TestType,
    /// As they were used.
    pub options: Options,
    /// False where any of `invalid_reasons` holds.
    pub valid: bool,
    /// Why the run must not be averaged in.
    pub invalid_reasons: Vec<String>,
    /// All rounds, with the probe and without, in the order in which they ran. The figures of
    /// the run below are of the rounds with the probe, the tolls of those without.
    pub rounds: Vec<Round>,
    /// Payload, of streams.
    pub throughput_bits_per_second: Option<Estimate>,
    /// RR tests.
    pub transactions_per_second: Option<Estimate>,
    /// RR tests: send call to receive call. `path_cost`: one way. `http_rr`: from its scheduled time
    /// to the first byte of the answer.
    pub rtt_ns: Option<Distribution>,
    /// Requests without an answer; datagrams that did not arrive (`udp_stream`).
    pub lost: Option<u64>,
    /// Processor time.
    pub cpu: Cpu,
    /// TCP's own counters on the sender: the client, but for `tcp_reverse`.
    pub tcp: Option<Tcp>,
    /// What became of the datagrams (`udp_stream`).
    #[serde(default)]
    pub udp: Option<Udp>,
    /// What answered (`http_rr`).
    #[serde(default)]
    pub http: Option<Http>,
    /// Where the time went.
    pub stages: Option<Vec<Stage>>,
    /// What the kernel dropped on the way; empty for nothing, `null` where nobody looked.
    #[serde(default)]
    pub drops: Option<Vec<Drops>>,
    /// The slowest requests of the rounds with the probe, the slowest first (`tcp_rr`, `udp_rr`).
    #[serde(default)]
    pub exemplars: Option<Vec<Exemplar>>,
    /// CPU by what the innermost matching frame was busy with.
    pub components: Option<Vec<Share>>,
    /// CPU by the whole stack.
    pub regions: Option<Vec<Share>>,
    /// Sum of the mean stage times over the mean round-trip time of the same rounds.
    pub closure: Option<f64>,
    /// What the probe did and what it cost.
    pub probe: Probe,
}

/// One slice of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// In which pair of the comparison (rounds of the compared paths share it).
    pub pair: u32,
    /// The order in which the round ran, over all runs of the report.
    pub sequence: u32,
    /// Whether the probe was attached.
    pub probe: bool,
    /// Measured time.
    pub seconds: f64,
    /// Payload bytes that the peer acknowledged, or that arrived (`tcp_reverse`,
    /// `udp_stream`).
    pub bytes: Option<u64>,
    /// Requests with an answer.
    pub transactions: Option<u64>,
    /// Requests without an answer; datagrams that did not arrive (`udp_stream`).
    pub lost: Option<u64>,
    /// Payload.
    pub throughput_bits_per_second: Option<f64>,
    /// Mean of the round.
    pub rtt_mean_ns: Option<f64>,
    /// Median of the round.
    pub rtt_p50_ns: Option<f64>,
    /// Of the whole machine where `cpu.shared`.
    pub cpu_busy_seconds: Option<f64>,
    /// Why the round is left out of all figures, `null` for a good one.
    pub invalid_reason: Option<String>,
    /// The machine was not the test's alone, as `invalid_reason` says: seen by other means than the
    /// round's figures, so that further pairs of rounds may stand in for it.
    #[serde(default)]
    pub disturbed: bool,
}

/// Processor time of both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// The client's node; the whole machine where `shared`.
    pub local: Option<CpuSide>,
    /// The server's node; `null` where `shared`.
    pub remote: Option<CpuSide>,
    /// Both nodes are one kernel.
    pub shared: bool,
}

/// Processor time of one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuSide {
    /// Busy part of all CPUs, 0 to 1.
    pub utilisation: f64,
    /// Busy CPU time per payload byte, for streams.
    pub service_demand_ns_per_byte: Option<f64>,
    /// Busy CPU time per transaction, for RR tests.
    pub service_demand_ns_per_transaction: Option<f64>,
    /// What processes other than the agents took of all CPUs, 0 to 1, at least: the softirqs that
    /// ran on an agent's back are taken for its own time, and not for theirs. `null` where it was
    /// not measured.
    pub others: Option<f64>,
    /// `samples` or `proc_stat`: where `utilisation` comes from.
    pub source: String,
}

/// TCP's own counters, from `TCP_INFO` of the sender's socket, rounds only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tcp {
    /// Segments sent again.
    pub retransmits: u64,
    /// The most payload that a segment carried at the end: the maximum segment size less
    /// `option_bytes`.
    pub mss_bytes: u32,
    /// What options take of each segment with payload: 12 bytes with timestamps, else none.
    #[serde(default)]
    pub option_bytes: Option<u32>,
    /// The kernel's smoothed round-trip time at the end.
    pub srtt_us: u32,
    /// The congestion window at the end, in segments.
    pub cwnd_segments: u32,
    /// The congestion control's name.
    pub congestion_control: String,
}

/// Work or wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageClass {
    /// The CPU is busy with this packet.
    Work,
    /// The packet waits.
    Wait,
    /// No hook parts the two.
    Mixed,
}

/// What lies between two consecutive hops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Whose node; `null` for what belongs to neither (`unattributed`).
    pub side: Option<Side>,
    /// The way of the packets.
    pub direction: Direction,
    /// A stage's name of the design, or `FROM->TO` of two hops that the table does not know.
    pub stage: String,
    /// Work or wait; `null` for `unattributed` and unknown stages.
    pub class: Option<StageClass>,
    /// The device that the stage is about; `null` where none is.
    pub device: Option<String>,
    /// Its kind.
    pub device_kind: Option<DeviceKind>,
    /// Not observed, but computed from other figures.
    pub derived: bool,
    /// Data-carrying `sk_buff`s.
    pub packets: Option<u64>,
    /// Wire packets in them.
    pub segments: Option<u64>,
    /// Packets without payload, counted apart.
    pub ack_packets: Option<u64>,
    /// Payload bytes.
    pub bytes: Option<u64>,
    /// Exact mean.
    pub mean_ns: f64,
    /// Median.
    pub p50_ns: Option<f64>,
    /// 99th percentile.
    pub p99_ns: Option<f64>,
    /// Of packets with one segment: `[upper_bound_ns, count]`.
    pub histogram: Option<Vec<(u64, u64)>>,
    /// Of packets with many segments.
    pub histogram_many_segments: Option<Vec<(u64, u64)>>,
    /// Exact self time of the device's transmit function.
    pub cpu_ns_per_packet: Option<f64>,
    /// The same per payload byte.
    pub cpu_ns_per_byte: Option<f64>,
}

/// The samples of one component or region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The component's or region's name.
    pub name: String,
    /// Stacks counted.
    pub samples: u64,
    /// Of all samples.
    pub share: f64,
    /// 95 % interval of `share` by sampling.
    pub share_ci95: [f64; 2],
    /// CPU time per payload byte.
    pub ns_per_byte: Option<f64>,
    /// CPU time per data-carrying `sk_buff` of the way that payload goes.
    pub ns_per_packet: Option<f64>,
    /// What `ns_per_byte` is by the other measure: exact self time of the region's transmit
    /// functions over all packets of the flow both ways, those without payload too, per payload
    /// byte. `null` for components, and for regions that no hooks enclose.
    pub exact_ns_per_byte: Option<f64>,
}

/// What a toll compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TollMetric {
    /// Bits per second.
    Throughput,
    /// Transactions per second.
    Transactions,
    /// Mean round-trip time.
    RttMean,
    /// Median round-trip time.
    RttP50,
    /// One way of `path_cost`.
    PathCost,
    /// Busy CPU time per payload byte.
    CpuNsPerByte,
}

impl TollMetric {
    /// The word of the design.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Transactions => "transactions",
            Self::RttMean => "rtt_mean",
            Self::RttP50 => "rtt_p50",
            Self::PathCost => "path_cost",
            Self::CpuNsPerByte => "cpu_ns_per_byte",
        }
    }

    /// More is better.
    #[must_use]
    pub fn higher_is_better(self) -> bool {
        matches!(self, Self::Throughput | Self::Transactions)
    }

    /// How many percent worse a figure is that is `ratio` times another one; below 0 where it is better.
    #[must_use]
    pub fn overhead_percent(self, ratio: f64) -> f64 {
        let part = if self.higher_is_better() {
            1.0 - ratio
        } else {
            ratio - 1.0
        };
        part * 100.0
    }

    /// The same of an interval of ratios, the lower end first.
    #[must_use]
    pub fn overhead_interval(self, ci95: [f64; 2]) -> [f64; 2] {
        let mut ends = ci95.map(|ratio| self.overhead_percent(ratio));
        ends.sort_by(f64::total_cmp);
        ends
    }
}

/// What a path costs beyond a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Toll {
    /// The path.
    pub path: Path,
    /// What it is compared with.
    pub baseline: Path,
    /// The path's run.
    pub run_id: String,
    /// The baseline's run.
    pub baseline_run_id: String,
    /// The type of traffic.
    pub test: TestType,
    /// What is compared.
    pub metric: TollMetric,
    /// Path over baseline: exp of the mean log ratio over the pairs.
    pub ratio: f64,
    /// 95 % interval of `ratio`.
    pub ci95: [f64; 2],
    /// (1 − ratio)·100 for throughput and transactions, (ratio − 1)·100 for all others.
    pub overhead_percent: f64,
    /// The interval does not contain 1.
    pub resolved: bool,
    /// How many pairs of rounds.
    pub pairs: u32,
}

impl PathKind {
    /// What a path of this kind is compared with, by the design's words.
    #[must_use]
    pub fn baseline(self) -> Option<Self> {
        match self {
            Self::Loopback | Self::HostToHost | Self::External => None,
            Self::PodToPodSameNode | Self::Hairpin => Some(Self::Loopback),
            _ => Some(Self::HostToHost),
        }
    }
}
