//! When a run must not be averaged in: rule 8 of the design.

use std::collections::BTreeSet;

use nettoll_core::report::{Run, TestType};

use super::Inputs;
use crate::jobs::sides::{MeasuredRound, Sides};

/// Requests without an answer. Above it the mean is that of the lucky ones.
const MAX_LOST: f64 = 0.01;
/// Hops that the probe lost. Above it stages are those of the others.
const MAX_PROBE_LOST: f64 = 0.01;
/// Rounds that gave no figures. Above it what is left is a choice.
const MAX_MISSING: f64 = 0.2;
/// Round trips of a run. Below it a 99th percentile is one value or two.
const MIN_TIMES: u64 = 200;
/// The same of `http_rr`, whose figure is the median.
const MIN_HTTP_TIMES: u64 = 10;
/// What the probe counts as lost although no hop escaped it: the kernel dropped or merged the
/// packet, or the hypervisor took the CPU away in a transmit function, which rounds are judged by.
const NOT_THE_PROBE: [&str; 3] = ["dropped_by_kernel", "merged", "interrupted"];

/// How the sampler's losses begin among the probe's.
const STACKS: &str = "stacks_";
/// Samples whose stack was lost. Above it shares are those of the shallow stacks. Ticks that never
/// came (`stacks_missed`: an idle CPU's, on virtual machines) are nobody's stack.
const MAX_STACKS_LOST: f64 = 0.01;

/// All reasons that hold, in words.
pub(super) fn reasons(inputs: &Inputs<'_>, reported: &[&Sides], run: &Run) -> Vec<String> {
    let mut reasons: Vec<String> = inputs
        .broken
        .iter()
        .map(|&reason| reason.to_owned())
        .collect();
    if inputs.rounds.is_empty() {
        reasons.push("no round was run".to_owned());
    }
    reasons.extend(failed_rounds(inputs.rounds));
    if inputs.broken.is_none() {
        reasons.extend(disturbed_rounds(inputs));
    }
    if !run.test.is_stream() {
        reasons.extend(few_times(run));
        reasons.extend(lost(reported, run));
    }
    reasons.extend(probe_lost(inputs, run));
    reasons.extend(stacks_lost(inputs, run));
    reasons
}

/// Rounds that were no good by themselves, beside those that nothing disturbed. Each was one that
/// might have been slow.
fn failed_rounds(rounds: &[MeasuredRound]) -> Option<String> {
    let undisturbed = || {
        rounds.iter().filter_map(|round| match &round.outcome {
            Ok(sides) if sides.disturbance().is_some() => None,
            Ok(sides) => Some(sides.failure()),
            Err(reason) => Some(Some(reason.as_str())),
        })
    };
    let (all, failed) = (undisturbed().count(), undisturbed().flatten().count());
    let first = undisturbed().flatten().next()?;
    (failed as f64 > MAX_MISSING * all as f64)
        .then(|| format!("{failed} of {all} rounds are no good, the first because: {first}"))
}

/// Good rounds that are missing in spite of spare ones, because of disturbances.
fn disturbed_rounds(inputs: &Inputs<'_>) -> Option<String> {
    let rounds = inputs.rounds;
    let states: BTreeSet<bool> = rounds.iter().map(|round| round.spec.probe).collect();
    let planned = inputs.plan.options.rounds as usize * states.len();
    let good = |round: &&MeasuredRound| {
        let sides = round.outcome.as_ref();
        sides.is_ok_and(|sides| sides.invalid_reason().is_none())
    };
    let good = rounds.iter().filter(good).count();
    let mut disturbances = rounds
        .iter()
        .filter_map(|round| round.outcome.as_ref().ok()?.disturbance());
    let first = disturbances.next()?;
    let (disturbed, all) = (1 + disturbances.count(), rounds.len());
    ((planned - good.min(planned)) as f64 > MAX_MISSING * planned as f64).then(|| {
        format!(
            "{disturbed} of {all} rounds were disturbed, spare ones too; the first because: {first}"
        )
    })
}

fn few_times(run: &Run) -> Option<String> {
    let count = run.rtt_ns.as_ref().map_or(0, |rtt| rtt.count);
    let least = match run.test {
        TestType::HttpRr => MIN_HTTP_TIMES,
        _ => MIN_TIMES,
    };
    (count < least)
        .then(|| format!("{count} round trips are too few, {least} are needed: measure for longer"))
}

fn lost(reported: &[&Sides], run: &Run) -> Option<String> {
    let lost = super::rounds::sum(reported, |side| side.lost);
    let answered = super::rounds::sum(reported, |side| side.transactions);
    let share = lost as f64 / (lost + answered) as f64;
    let failure = run.http.as_ref().and_then(|http| http.failure.as_deref());
    let because = failure.map_or_else(String::new, |reason| {
        format!(", the last because: {reason}")
    });
    let percent = share * 100.0;
    (share > MAX_LOST).then(|| format!("{lost} requests ({percent:.1} %) got no answer{because}"))
}

fn probe_lost(inputs: &Inputs<'_>, run: &Run) -> Option<String> {
    let of_the_probe = run
        .probe
        .lost
        .iter()
        .filter(|(reason, _)| !NOT_THE_PROBE.contains(&reason.as_str()))
        .filter(|(reason, _)| !reason.starts_with(STACKS));
    let lost: u64 = of_the_probe.map(|(_, count)| count).sum();
    let edges = inputs
        .finished
        .iter()
        .flat_map(|finished| finished.sides())
        .flat_map(|side| &side.edges);
    let counted: u64 = edges.map(|edge| edge.packets + edge.ack_packets).sum();
    let share = lost as f64 / (lost + counted) as f64;
    (share > MAX_PROBE_LOST).then(|| {
        format!(
            "the probe lost {lost} hops ({:.1} %); see probe.lost",
            share * 100.0
        )
    })
}

fn stacks_lost(inputs: &Inputs<'_>, run: &Run) -> Option<String> {
    let lost: u64 = run
        .probe
        .lost
        .iter()
        .filter(|(reason, _)| reason.starts_with(STACKS) && !reason.ends_with("missed"))
        .map(|(_, count)| count)
        .sum();
    let sampled = inputs
        .finished
        .iter()
        .flat_map(|finished| finished.sides())
        .filter_map(|side| side.stacks.as_ref())
        .flat_map(|stacks| &stacks.stacks);
    let seen: u64 = sampled.map(|stack| stack.samples).sum();
    let share = lost as f64 / (lost + seen) as f64;
    (share > MAX_STACKS_LOST)
        .then(|| format!("{lost} samples ({:.1} %) have no stack", share * 100.0))
}
