//! CPU by component and region.

use nettoll_core::report::{Report, Run, Share};

use super::{comparisons, run, subject};

/// A stream's run with sampled CPU, and its baseline's.
pub(crate) struct CpuPair<'a> {
    pub(crate) path: &'a Run,
    pub(crate) baseline: Option<&'a Run>,
}

/// The subject's sampled stream, else any sampled run of the subject.
pub(crate) fn cpu_pair(report: &Report) -> Option<CpuPair<'_>> {
    let subject = subject(report)?;
    let sampled = |run: &&Run| run.components.as_ref().is_some_and(|all| !all.is_empty());
    let path = report
        .runs
        .iter()
        .filter(|run| run.path == *subject)
        .filter(sampled)
        .min_by_key(|run| !run.test.is_stream())?;
    let of_kind =
        |run: &&Run| Some(run.path.kind) == path.path.kind.baseline() && run.test == path.test;
    // The toll's baseline; where an interval could not be had, a run of the baseline's kind.
    let baseline = comparisons(report)
        .first()
        .and_then(|headline| {
            headline
                .tolls
                .iter()
                .find(|toll| toll.run_id == path.id)
                .copied()
        })
        .and_then(|toll| run(report, &toll.baseline_run_id))
        .or_else(|| report.runs.iter().find(of_kind))
        .filter(sampled)
        .filter(|baseline| baseline.id != path.id);
    Some(CpuPair { path, baseline })
}
/// The components that any of the two runs has, by the path's CPU time, the largest first;
/// `idle` last: it is no cost.
pub(crate) fn component_names<'a>(path: &'a Run, baseline: Option<&'a Run>) -> Vec<&'a str> {
    let mut all: Vec<&Share> = path.components.iter().flatten().collect();
    all.sort_by(|a, b| b.share.total_cmp(&a.share));
    let there = baseline
        .and_then(|run| run.components.as_ref())
        .into_iter()
        .flatten();
    all.extend(there);
    let mut names: Vec<&str> = Vec::new();
    for share in all.iter().filter(|share| share.samples > 0) {
        if !names.contains(&share.name.as_str()) {
            names.push(&share.name);
        }
    }
    names.sort_by_key(|name| *name == IDLE);
    names
}

/// A run's component of that name.
pub(crate) fn component<'a>(run: &'a Run, name: &str) -> Option<&'a Share> {
    run.components
        .iter()
        .flatten()
        .find(|share| share.name == name)
}

/// The component that is no work.
pub(crate) const IDLE: &str = "idle";
/// A region's CPU time by both measures, in ns per payload byte.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TwoMeasures<'a> {
    pub(crate) region: &'a Share,
    pub(crate) sampled_ns_per_byte: f64,
    /// 95 % interval by sampling.
    pub(crate) sampled_ci95: [f64; 2],
    /// Self time of the tunnel's transmit functions, ACKs included; `None` where not measured.
    pub(crate) exact_ns_per_byte: Option<f64>,
}

impl TwoMeasures<'_> {
    /// Whether the exact figure is inside the sampled one's interval.
    pub(crate) fn agree(&self) -> Option<bool> {
        let [low, high] = self.sampled_ci95;
        self.exact_ns_per_byte
            .map(|exact| (low..=high).contains(&exact))
    }
}

/// The regions of a run by both measures.
pub(crate) fn two_measures(run: &Run) -> Vec<TwoMeasures<'_>> {
    let regions = run.regions.iter().flatten();
    regions.filter_map(two_measures_of).collect()
}

fn two_measures_of(region: &Share) -> Option<TwoMeasures<'_>> {
    let sampled = region.ns_per_byte?;
    (region.share > 0.0).then(|| TwoMeasures {
        region,
        sampled_ns_per_byte: sampled,
        sampled_ci95: region.share_ci95.map(|end| sampled * end / region.share),
        exact_ns_per_byte: region.exact_ns_per_byte,
    })
}
