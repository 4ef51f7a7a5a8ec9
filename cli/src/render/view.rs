//! What belongs together in a report, for all who write it down.

mod compare;
mod cpu;
mod datagrams;
mod drops;
mod exemplar;
mod hooks;
mod stages;

use std::collections::{BTreeMap, BTreeSet};

use nettoll_core::{
    endpoint::Path,
    kernel::HookKind,
    report::{Program, Report, Run},
};

pub(crate) use compare::{
    Comparison, comparisons, figure, missing, overhead_interval, run_figures, subject, values,
    without_toll,
};
pub(crate) use cpu::{
    CpuPair, IDLE, TwoMeasures, component, component_names, cpu_pair, two_measures,
};
pub(crate) use datagrams::{datagrams, lost_share};
pub(crate) use drops::{drop_reason, losses};
pub(crate) use exemplar::{ExemplarLine, exemplar_legs, exemplar_notes, slowest};
pub(crate) use hooks::lacks_stages;
pub(crate) use stages::{
    Leg, Passed, Sums, class_word, extra_stages, is_owners, legs, longest_between_sockets, passed,
    path_costs, stage_names, stage_total, sums, trip_mean, waterfalls,
};

/// A run by its id.
pub(crate) fn run<'a>(report: &'a Report, id: &str) -> Option<&'a Run> {
    report.runs.iter().find(|run| run.id == id)
}
/// What the probe lost in all runs, by reason.
pub(crate) fn lost(report: &Report) -> BTreeMap<&str, u64> {
    let mut lost = BTreeMap::new();
    for (reason, count) in report.runs.iter().flat_map(|run| &run.probe.lost) {
        *lost.entry(reason.as_str()).or_default() += count;
    }
    lost
}
/// What one hit of a program costs by the last calibration: its own mean less that of an empty
/// program on the same hook, over all nodes and runs; `None` where nothing was calibrated.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ProgramCost {
    pub(crate) runs: u64,
    pub(crate) matched: u64,
    pub(crate) own_ns: Option<f64>,
}

/// The probe's programs by name.
pub(crate) fn programs(report: &Report) -> BTreeMap<&str, ProgramCost> {
    let mut costs: BTreeMap<&str, (ProgramCost, Vec<f64>)> = BTreeMap::new();
    for program in report.runs.iter().flat_map(|run| &run.probe.programs) {
        let (cost, own) = costs.entry(&program.name).or_default();
        cost.runs += program.runs;
        cost.matched += program.matched;
        own.extend(own_ns(program));
    }
    let mean =
        |own: Vec<f64>| (!own.is_empty()).then(|| own.iter().sum::<f64>() / own.len() as f64);
    costs
        .into_iter()
        .map(|(name, (cost, own))| {
            (
                name,
                ProgramCost {
                    own_ns: mean(own),
                    ..cost
                },
            )
        })
        .collect()
}

/// How the probe's programs were attached, in words; `None` where reports did not tell yet.
pub(crate) fn tiers(report: &Report) -> Option<String> {
    let programs = report.runs.iter().flat_map(|run| &run.probe.programs);
    let kinds: BTreeSet<_> = programs.filter_map(|program| program.kind).collect();
    let kinds: Vec<_> = kinds.into_iter().map(HookKind::as_str).collect();
    (!kinds.is_empty()).then(|| kinds.join(", "))
}

fn own_ns(program: &Program) -> Option<f64> {
    Some(program.mean_ns? - program.empty_mean_ns?)
}

/// Equal boot ids are one kernel.
pub(crate) fn one_kernel(report: &Report) -> bool {
    let mut ids = report.context.nodes.iter().map(|node| &node.boot_id);
    match ids.next() {
        Some(first) => report.context.nodes.len() > 1 && ids.all(|id| id == first),
        None => false,
    }
}

/// How many rounds were disturbed, what the first was disturbed by, and how many were run in their
/// place; `None` where none was.
pub(crate) fn disturbed(report: &Report) -> Option<String> {
    let runs = || report.runs.iter();
    let rounds = || runs().flat_map(|run| &run.rounds);
    let disturbed = || rounds().filter(|round| round.disturbed);
    let reason = disturbed().next()?.invalid_reason.as_deref();
    let spare = |run: &Run| {
        let planned = run.options.rounds;
        run.rounds.iter().filter(|r| r.pair >= planned).count()
    };
    Some(format!(
        "{} of {} rounds were disturbed ({}) and are in no figure; {} spare ones were run besides",
        disturbed().count(),
        rounds().count(),
        reason.unwrap_or("no reason told"),
        runs().map(spare).sum::<usize>()
    ))
}

/// Runs that must not be believed, and what makes the others less certain.
pub(crate) fn warnings(report: &Report) -> Vec<String> {
    let invalid = invalid(report).into_iter().map(|run| {
        format!(
            "Invalid, and in no toll: {} {}: {}",
            run.path.label(),
            run.test,
            run.invalid_reasons.join("; ")
        )
    });
    let missing = hooks::sentences(report);
    invalid.chain(missing).chain(busy(report)).collect()
}

/// The paths that were measured, each once.
pub(crate) fn paths(report: &Report) -> Vec<&Path> {
    let mut paths: Vec<&Path> = Vec::new();
    for run in &report.runs {
        if !paths.contains(&&run.path) {
            paths.push(&run.path);
        }
    }
    paths
}

/// More than this part of all CPUs' time for others, and the reader is told.
const BUSY: f64 = 0.05;

/// That other processes took much of the processor time, in how many runs, and in which the most;
/// `None` on a quiet machine.
pub(crate) fn busy(report: &Report) -> Option<String> {
    let others = |run: &Run| {
        let sides = [&run.cpu.local, &run.cpu.remote].into_iter().flatten();
        sides.filter_map(|side| side.others).max_by(f64::total_cmp)
    };
    let told = report
        .runs
        .iter()
        .filter_map(|run| Some((run, others(run)?)));
    let busy: Vec<_> = told.filter(|(_, share)| *share > BUSY).collect();
    let (run, share) = busy.iter().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    Some(format!(
        "The machine was busy: in {} of {} runs other processes took more than {:.0} % of the \
         processor time, in {} {} at least {:.0} %. They slow the path and its baseline by \
         chance: measure again when they rest",
        busy.len(),
        report.runs.len(),
        BUSY * 100.0,
        run.path.label(),
        run.test,
        share * 100.0
    ))
}

/// The runs that must not be averaged in, with their reasons.
pub(crate) fn invalid(report: &Report) -> Vec<&Run> {
    report.runs.iter().filter(|run| !run.valid).collect()
}
