//! When a run must not be averaged in: rule 8 of the design.

use nettoll_core::{
    api::RoundSide,
    report::{NodeContext, Run, TestType},
};

use super::Inputs;
use crate::jobs::sides::{MeasuredRound, Sides};

/// Processor time that the hypervisor took away. Above it rounds measure the neighbours.
const MAX_STEAL: f64 = 0.05;
/// Requests without an answer. Above it the mean is that of the lucky ones.
const MAX_LOST: f64 = 0.01;
/// Hops that the probe lost. Above it stages are those of the others.
const MAX_PROBE_LOST: f64 = 0.01;
/// Rounds that gave no figures. Above it what is left is a choice.
const MAX_BAD_ROUNDS: f64 = 0.2;
/// Round trips of a run. Below it a 99th percentile is one value or two.
const MIN_TIMES: u64 = 200;
/// What the probe counts as lost although nothing escaped it: the kernel dropped or merged the
/// packet.
const NOT_THE_PROBE: [&str; 2] = ["dropped_by_kernel", "merged"];

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
    reasons.extend(bad_rounds(inputs.rounds));
    reasons.extend(steal(reported, inputs.client, |sides| Some(&sides.client)));
    if !inputs.one_kernel {
        reasons.extend(steal(reported, inputs.server, |sides| {
            sides.server.as_ref()
        }));
    }
    if run.test != TestType::TcpStream {
        reasons.extend(few_times(run));
        reasons.extend(lost(reported));
    }
    reasons.extend(probe_lost(inputs, run));
    reasons.extend(stacks_lost(inputs, run));
    reasons
}

fn bad_rounds(rounds: &[MeasuredRound]) -> Option<String> {
    let mut told = rounds.iter().filter_map(|round| match &round.outcome {
        Ok(sides) => sides.invalid_reason(),
        Err(reason) => Some(reason),
    });
    let all = rounds.len();
    if all == 0 {
        return Some("no round was run".to_owned());
    }
    let first = told.next()?;
    let bad = 1 + told.count();
    (bad as f64 > MAX_BAD_ROUNDS * all as f64)
        .then(|| format!("{bad} of {all} rounds are no good, the first because: {first}"))
}

fn steal<'a>(
    reported: &[&'a Sides],
    node: &NodeContext,
    of: impl Fn(&'a Sides) -> Option<&'a RoundSide>,
) -> Option<String> {
    let sides = || reported.iter().filter_map(|sides| of(sides));
    let stolen: f64 = sides().filter_map(|side| side.cpu_steal_seconds).sum();
    let available = sides().map(|side| side.seconds).sum::<f64>() * f64::from(node.cpus);
    let share = stolen / available;
    (share > MAX_STEAL).then(|| {
        let (name, percent) = (&node.node, share * 100.0);
        format!("the hypervisor took {percent:.1} % of the processor time of node {name}")
    })
}

fn few_times(run: &Run) -> Option<String> {
    let count = run.rtt_ns.as_ref().map_or(0, |rtt| rtt.count);
    (count < MIN_TIMES).then(|| {
        format!("{count} round trips are too few, {MIN_TIMES} are needed: measure for longer")
    })
}

fn lost(reported: &[&Sides]) -> Option<String> {
    let lost = super::rounds::sum(reported, |side| side.lost);
    let answered = super::rounds::sum(reported, |side| side.transactions);
    let share = lost as f64 / (lost + answered) as f64;
    (share > MAX_LOST).then(|| format!("{lost} requests ({:.1} %) got no answer", share * 100.0))
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
