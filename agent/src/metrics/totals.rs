//! What all runs of this agent counted since it began: sums that only grow.

use std::collections::BTreeMap;

use nettoll_core::{
    device::DeviceKind,
    endpoint::PathKind,
    hop::{Direction, Side},
    report::Program,
};

/// The labels of a stage's series: kinds, never names, so that their number is bounded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StageKey {
    /// What lies between the endpoints.
    pub(crate) path: PathKind,
    /// Whose node.
    pub(crate) side: Side,
    /// The way of the packets.
    pub(crate) direction: Direction,
    /// The stage's name, or two hops that the table of stages does not know.
    pub(crate) stage: String,
    /// The device that the stage is about.
    pub(crate) device_kind: Option<DeviceKind>,
}

/// What was counted in a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StageTotal {
    /// Data-carrying `sk_buff`s.
    pub(crate) packets: u64,
    /// Payload bytes.
    pub(crate) bytes: u64,
    /// Sum of the times.
    pub(crate) sum_ns: u64,
    /// The times: upper bound → how many.
    pub(crate) histogram: BTreeMap<u64, u64>,
    /// Exact self time of the device's transmit function, where it was measured.
    pub(crate) self_ns: Option<u64>,
}

impl StageTotal {
    /// Adds what was counted elsewhere.
    pub(crate) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.sum_ns += other.sum_ns;
        for (bound, count) in &other.histogram {
            *self.histogram.entry(*bound).or_default() += count;
        }
        if let Some(self_ns) = other.self_ns {
            *self.self_ns.get_or_insert_default() += self_ns;
        }
    }
}

/// Everything that the metrics tell of the runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    /// The stages, in the order in which they were first seen.
    stages: Vec<(StageKey, StageTotal)>,
    /// The probe's programs since they were loaded.
    pub(crate) programs: Vec<Program>,
    /// What the probe lost since it was loaded, by reason.
    pub(crate) lost: BTreeMap<String, u64>,
}

impl Totals {
    /// The stages, in the order in which they were first seen.
    pub(crate) fn stages(&self) -> &[(StageKey, StageTotal)] {
        &self.stages
    }

    /// Adds to a stage.
    pub(crate) fn add(&mut self, key: StageKey, total: &StageTotal) {
        match self.stages.iter_mut().find(|(known, _)| *known == key) {
            Some((_, sum)) => sum.add(total),
            None => self.stages.push((key, total.clone())),
        }
    }
}
