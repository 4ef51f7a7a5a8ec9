//! What the probe did, what it did without, and what it cost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::TollMetric;
use crate::kernel::{HookKind, Reason};

/// What the probe did in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The programs that were attached.
    pub programs: Vec<Program>,
    /// The hooks that the probe did without.
    #[serde(default)]
    pub missing: Vec<MissingHook>,
    /// What was lost, by reason; all reasons are listed that the hooks tell.
    pub lost: BTreeMap<String, u64>,
    /// What the probe cost.
    pub cost: ProbeCost,
}

/// One program of the probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Whose.
    pub node: String,
    /// How it was attached; `null` in reports of versions that knew one way only.
    #[serde(default)]
    pub kind: Option<HookKind>,
    /// Times it ran in the run's rounds, from its own counter.
    pub runs: u64,
    /// Times it stored a hop of the run's flow.
    pub matched: u64,
    /// Run time over run count by the kernel's statistics, from the last calibration slice; the
    /// statistics' own clock is in it. `null` where there was none.
    pub mean_ns: Option<f64>,
    /// The same figure of an empty program on the same hook in the same slice: what
    /// `mean_ns` exceeds it by is the program's own.
    pub empty_mean_ns: Option<f64>,
}

/// A hook that a node's probe did without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingHook {
    /// The tracepoint.
    pub hook: String,
    /// On which node.
    pub node: String,
    /// Why.
    pub reason: Reason,
    /// The same in words.
    pub detail: String,
    /// The stages that would be in this run with it. What was seen instead is between other hops,
    /// and under their names.
    pub stages: Vec<String>,
}

/// What the probe cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeCost {
    /// The run's main figure with the probe over without (throughput, else mean RTT), in the
    /// run's own pairs.
    pub ratio: Option<f64>,
    /// Its 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// Which figure `ratio` is of.
    pub metric: Option<TollMetric>,
}
