//! What all runs of this agent counted since it began: sums that only grow.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use nettoll_core::{
    api::RunSide,
    device::{Device, DeviceId, DeviceKind},
    endpoint::PathKind,
    hop::{Direction, Side},
    report::{Program, Stage},
    stage::{End, Journey, waterfall},
};

use crate::probe::Way;

/// The stage of two hops that the table of stages does not know. The report names them; a label
/// with devices' names would have no bound.
const UNKNOWN: &str = "unknown";

/// The labels of a stage's series: kinds, never names, so that their number is bounded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StageKey {
    /// What lies between the endpoints.
    pub(crate) path: PathKind,
    /// Whose node.
    pub(crate) side: Side,
    /// The way of the packets.
    pub(crate) direction: Direction,
    /// The stage's name, or [`UNKNOWN`].
    pub(crate) stage: String,
    /// The device that the stage is about.
    pub(crate) device_kind: Option<DeviceKind>,
}

/// What was counted in a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StageTotal {
    /// Data-carrying `sk_buff`s.
    pub(crate) packets: u64,
    /// Payload bytes; `None` for what a traffic thread measured, which sees messages.
    pub(crate) bytes: Option<u64>,
    /// Sum of the times.
    pub(crate) sum_ns: u64,
    /// The times: upper bound → how many.
    pub(crate) histogram: BTreeMap<u64, u64>,
    /// Exact self time of the device's transmit function, where it was measured.
    pub(crate) self_ns: Option<u64>,
}

impl StageTotal {
    /// Adds what was counted elsewhere.
    fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.sum_ns += other.sum_ns;
        for (bound, count) in &other.histogram {
            *self.histogram.entry(*bound).or_default() += count;
        }
        for (sum, more) in [
            (&mut self.bytes, other.bytes),
            (&mut self.self_ns, other.self_ns),
        ] {
            if let Some(more) = more {
                *sum.get_or_insert_default() += more;
            }
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
    pub(super) fn stages(&self) -> &[(StageKey, StageTotal)] {
        &self.stages
    }

    /// Adds what was counted on this agent of a path of that kind.
    pub(crate) fn add_side(&mut self, path: PathKind, way: &Way<'_>, side: &RunSide) {
        // Names are not unique between namespaces; these are, and stages carry them back.
        let named = |device: &Device| Device {
            name: unique(device.id),
            ..device.clone()
        };
        let devices: Vec<_> = way.devices.iter().map(named).collect();
        let end = |netns| End {
            node: (devices.iter().find(|device| device.id.netns == netns))
                .map_or("", |device| device.node.as_str()),
            netns,
        };
        let found = waterfall(&Journey {
            sides: &[side],
            devices: &devices,
            client: end(way.client),
            server: end(way.server),
            // Only what was seen is counted here: nothing is derived from a round-trip time.
            one_kernel: true,
            rtt_mean_ns: None,
            requests: 0,
        });
        for stage in found.stages {
            let Some(side_of_stage) = stage.side else {
                continue;
            };
            let key = StageKey {
                path,
                side: side_of_stage,
                direction: stage.direction,
                stage: stage
                    .class
                    .map_or(UNKNOWN.to_owned(), |_| stage.stage.clone()),
                device_kind: stage.device_kind,
            };
            self.add(key, &total(&stage, side));
        }
    }

    /// Adds to a stage.
    pub(super) fn add(&mut self, key: StageKey, total: &StageTotal) {
        match self.stages.iter_mut().find(|(known, _)| *known == key) {
            Some((_, sum)) => sum.add(total),
            None => self.stages.push((key, total.clone())),
        }
    }
}

fn unique(id: DeviceId) -> String {
    format!("{}:{}", id.netns, id.ifindex)
}

/// Counts of one stage of one run; its device has a unique name.
fn total(stage: &Stage, side: &RunSide) -> StageTotal {
    let packets = stage.packets.unwrap_or_default();
    let mut histogram = BTreeMap::new();
    for (bound, count) in [&stage.histogram, &stage.histogram_many_segments]
        .into_iter()
        .flatten()
        .flatten()
    {
        *histogram.entry(*bound).or_default() += count;
    }
    StageTotal {
        packets,
        bytes: stage.bytes,
        sum_ns: (stage.mean_ns * packets as f64).round() as u64,
        histogram,
        // It belongs to one stage of the device: the one with a mean of it.
        self_ns: stage.cpu_ns_per_packet.map(|_| self_ns(stage, side)),
    }
}

/// Exact self time of the stage's device in the stage's direction.
fn self_ns(stage: &Stage, side: &RunSide) -> u64 {
    let of_device = side.self_times.iter().filter(|time| {
        time.direction == stage.direction && stage.device == Some(unique(time.device))
    });
    of_device.map(|time| time.self_ns).sum()
}
