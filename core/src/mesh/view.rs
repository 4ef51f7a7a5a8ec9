//! What the mesh tells of its edges.

use super::{Wire, toll::Toll};
use crate::{endpoint::PathKind, inventory::Member, report::TestType, stats::PairedRatio};

/// A round that was taken in, and where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Accepted<'a> {
    /// The kind of its path.
    pub path: PathKind,
    /// The pod network, where the path uses one.
    pub network: &'a str,
    /// The client's zone.
    pub from_zone: &'a str,
    /// The server's zone.
    pub to_zone: &'a str,
    /// The type of its traffic.
    pub test: TestType,
    /// What is left for the wire, where this makes the round of both nodes whole.
    pub wire: Option<Wire>,
}

/// What is known of an edge.
#[derive(Clone, Copy, Debug)]
pub struct EdgeView<'a> {
    /// The kind of its path.
    pub path: PathKind,
    /// The pod network; empty where the path uses none.
    pub network: &'a str,
    /// The probing node.
    pub from: &'a Member,
    /// The probed node.
    pub to: &'a Member,
    /// The type of its rounds' traffic.
    pub test: TestType,
    /// It answers; `None` where that is not known yet.
    pub up: Option<bool>,
    /// Median and 99th percentile of the last 10 to 19 rounds.
    pub rtt_ns: Option<[f64; 2]>,
    /// Requests so far.
    pub requests: u64,
    /// Those without an answer.
    pub lost: u64,
    /// When the last round with an answer ended, by the caller's clock.
    pub last_success_ms: Option<u64>,
    /// It carries packets as large as it claims; `None` where that was not tested lately, or the
    /// path is down.
    pub path_mtu_ok: Option<bool>,
    /// Of `pod-to-pod`: what it costs beyond `host-to-host`.
    pub toll: Option<TollView<'a>>,
    /// Of `pod-to-pod`: what the stages of both nodes, and the wire as `host-to-host` has it, add
    /// up to, of the mean round-trip time.
    pub closure: Option<f64>,
    /// Payload of the last day's stream.
    pub bytes_per_second: Option<f64>,
    /// Of `pod-to-pod`: its throughput over that of `host-to-host`.
    pub throughput_toll: Option<f64>,
}

/// The toll of a pair.
#[derive(Clone, Copy, Debug)]
pub struct TollView<'a>(pub(super) &'a Toll);

impl TollView<'_> {
    /// How many pairs of rounds it is of.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.0.pairs()
    }

    /// Ratio of mean and of median round-trip times; `None` before the first pair of rounds.
    #[must_use]
    pub fn ratios(&self) -> Option<[f64; 2]> {
        self.0.ratios()
    }

    /// The same with 95 % intervals, from 10 pairs of rounds on.
    #[must_use]
    pub fn intervals(&self) -> Option<[PairedRatio; 2]> {
        self.0.intervals()
    }

    /// How wide the interval of the ratio of means is, for whoever asks it of thousands of pairs:
    /// it is from the ratio over this to the ratio times this. From 10 pairs of rounds on.
    #[must_use]
    pub fn interval_ratio(&self) -> Option<f64> {
        self.0.interval_ratio()
    }
}
