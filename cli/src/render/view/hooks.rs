//! Hooks that probes did without, and what is absent for it.

use std::collections::{BTreeMap, BTreeSet};

use nettoll_core::report::{MissingHook, Report, Run};

/// The hook without which several stages are told as one.
const SPLITS: &str = "sk_data_ready";

/// What is missing of one hook on one node, in all runs of a report.
type Missing<'a> = BTreeMap<(&'a str, &'a str), (&'a MissingHook, BTreeSet<&'a str>)>;

/// A sentence for each hook that a node's probe did without.
pub(super) fn sentences(report: &Report) -> impl Iterator<Item = String> {
    let mut all: Missing<'_> = BTreeMap::new();
    for missing in report.runs.iter().flat_map(|run| &run.probe.missing) {
        let stages = missing.stages.iter().map(String::as_str);
        let key = (missing.hook.as_str(), missing.node.as_str());
        all.entry(key)
            .or_insert((missing, BTreeSet::new()))
            .1
            .extend(stages);
    }
    all.into_values().map(|(missing, stages)| {
        let MissingHook {
            hook, node, detail, ..
        } = missing;
        let stages: Vec<_> = stages.into_iter().collect();
        let absent = match stages.join(", ") {
            none if none.is_empty() => "no stage is absent for it".to_owned(),
            parts if hook == SPLITS => format!("absent for it: {parts}; they are in socket_rx"),
            absent => format!(
                "absent for it: {absent}; what lies there is told under its hops' names, without a closure"
            ),
        };
        format!("Without the hook {hook} on {node} ({detail}): {absent}")
    })
}

/// Stages of a run are absent for it, and others do not hold their time.
pub(crate) fn lacks_stages(run: &Run) -> bool {
    let lacks = |missing: &MissingHook| !missing.stages.is_empty() && missing.hook != SPLITS;
    run.probe.missing.iter().any(lacks)
}
