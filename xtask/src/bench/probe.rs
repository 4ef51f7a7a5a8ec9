//! What the probe costs, on the lab's longest path.

use std::collections::BTreeMap;

use anyhow::Result;
use nettoll_core::report::{Program, Round, Run};

use super::{
    Effort,
    bed::Bed,
    comparison::{Comparison, Goal},
};

pub(super) const PATH: [&str; 6] = [
    "--from",
    "pod/lab/n1-a",
    "--to",
    "pod/lab/n2-a",
    "--network",
    "vxlan",
];
/// What the issue allows.
const STREAM_GOAL: Goal = Goal::AtLeast(0.97);
const RR_GOAL: Goal = Goal::AtMost(1.05);
const PATH_COST_GOAL: Goal = Goal::AtMost(1.40);
const HOP_GOAL_NS: Goal = Goal::AtMost(50.0);
/// Calibration slices of the programs' run times, one a test.
const SLICES: std::ops::RangeInclusive<u32> = 10..=40;

/// A figure of a round.
type Figure = fn(&Round) -> Option<f64>;

/// A test whose rounds with the probe are compared with those without it.
struct Subject {
    name: &'static str,
    test: &'static str,
    /// Who attaches: `client` is one agent.
    probe: &'static str,
    unit: &'static str,
    figure: Figure,
    goal: Option<Goal>,
}

const STREAM: Figure = |round| Some(round.throughput_bits_per_second? / 1e9);
const MEDIAN: Figure = |round| Some(round.rtt_p50_ns? / 1e3);
const MEAN: Figure = |round| round.rtt_mean_ns;

const SUBJECTS: [Subject; 3] = [
    Subject {
        name: "tcp_stream throughput, with over without the probe",
        test: "tcp_stream",
        probe: "client",
        unit: "Gbit/s",
        figure: STREAM,
        goal: Some(STREAM_GOAL),
    },
    Subject {
        name: "tcp_rr p50, with over without the probe",
        test: "tcp_rr",
        probe: "client",
        unit: "µs",
        figure: MEDIAN,
        goal: Some(RR_GOAL),
    },
    Subject {
        name: "tcp_rr p50, two agents attached",
        test: "tcp_rr",
        probe: "both",
        unit: "µs",
        figure: MEDIAN,
        goal: None,
    },
];

pub(super) fn run(bed: &mut Bed<'_>, effort: Effort) -> Result<Vec<Comparison>> {
    let [stream, rr, two_agents] = SUBJECTS;
    let mut comparisons = Vec::new();
    for subject in [stream, rr] {
        comparisons.push(compare(bed, effort, &subject)?.comparison);
    }
    comparisons.extend(path_cost(bed, effort)?);
    comparisons.extend(hops(bed)?);
    comparisons.push(compare(bed, effort, &two_agents)?.comparison);
    Ok(comparisons)
}

/// What came of a subject.
struct Compared {
    comparison: Comparison,
    /// With and without, of each pair.
    pairs: Vec<[f64; 2]>,
    /// Of the last test.
    run: Option<Run>,
}

/// Measures batch by batch until the goal is decided.
fn compare(bed: &mut Bed<'_>, effort: Effort, subject: &Subject) -> Result<Compared> {
    let (batch, seconds) = (effort.pairs.to_string(), effort.seconds.to_string());
    let (mut pairs, mut last, mut planned) = (Vec::new(), None, 0);
    loop {
        let arguments = [
            &PATH[..],
            &["--type", subject.test, "--probe", subject.probe],
            &["--pairs", &batch, "--seconds", &seconds],
        ]
        .concat();
        if let Some(run) = bed.test(&arguments, 0)? {
            pairs.extend(paired(&run.rounds, subject.figure));
            last = Some(run);
        }
        planned += effort.pairs;
        let comparison = Comparison::of_pairs(subject.name, subject.unit, &pairs, subject.goal);
        let done = comparison.as_ref().is_ok_and(Comparison::concluded);
        if done || !effort.goes_on(planned) {
            return Ok(Compared {
                comparison: comparison?,
                pairs,
                run: last,
            });
        }
    }
}

/// Good rounds with the probe and without it, by pair.
fn paired(rounds: &[Round], figure: Figure) -> Vec<[f64; 2]> {
    let mut pairs: BTreeMap<u32, [Option<f64>; 2]> = BTreeMap::new();
    for round in rounds.iter().filter(|round| round.invalid_reason.is_none()) {
        pairs.entry(round.pair).or_default()[usize::from(!round.probe)] = figure(round);
    }
    let whole = |[with, without]: [Option<f64>; 2]| Some([with?, without?]);
    pairs.into_values().filter_map(whole).collect()
}

/// The ratio, and what a hop adds.
fn path_cost(bed: &mut Bed<'_>, effort: Effort) -> Result<Vec<Comparison>> {
    let Compared {
        comparison,
        pairs,
        run,
    } = compare(
        bed,
        effort,
        &Subject {
            name: "path_cost, with over without the probe",
            test: "path_cost",
            probe: "client",
            unit: "ns",
            figure: MEAN,
            goal: Some(PATH_COST_GOAL),
        },
    )?;
    let mut comparisons = vec![comparison];
    if let Some(hops) = run.as_ref().and_then(hops_per_datagram) {
        let added = pairs.iter().map(|[with, without]| (with - without) / hops);
        comparisons.push(Comparison::of_differences(
            format!("path_cost, added per hop ({hops:.1} hops a datagram)"),
            "ns",
            &added.collect::<Vec<_>>(),
            None,
        )?);
    }
    Ok(comparisons)
}

/// Hops that were stored for each datagram.
fn hops_per_datagram(run: &Run) -> Option<f64> {
    let stored: u64 = run
        .probe
        .programs
        .iter()
        .map(|program| program.matched)
        .sum();
    let rounds = run.rounds.iter().filter(|round| round.probe);
    let datagrams: u64 = rounds.filter_map(|round| round.transactions).sum();
    (stored > 0 && datagrams > 0).then(|| stored as f64 / datagrams as f64)
}

/// What the programs cost by the kernel's own statistics, each test of which has one slice.
fn hops(bed: &mut Bed<'_>) -> Result<Vec<Comparison>> {
    // Hardly any warm-up: its packets would run the programs without matching.
    let arguments = [
        &PATH[..],
        &["--type", "path_cost", "--probe", "on", "--pairs", "10"],
        &["--seconds", "0.2", "--warmup-ms", "2"],
    ]
    .concat();
    let mut all = Vec::new();
    let mut each: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for tried in 1..=*SLICES.end() {
        let Some(run) = bed.test(&arguments, 0)? else {
            continue;
        };
        all.extend(weighted(&run.probe.programs));
        for program in run.probe.programs {
            if let Some(own) = own_ns(&program) {
                each.entry(program.name).or_default().push(own);
            }
        }
        let so_far = whole(&all);
        if tried >= *SLICES.start() && so_far.is_ok_and(|found| found.concluded()) {
            break;
        }
    }
    let mut comparisons = vec![whole(&all)?];
    for (program, values) in each {
        let name = format!("  of these, {program}");
        comparisons.extend(Comparison::of_differences(name, "ns", &values, None));
    }
    Ok(comparisons)
}

fn whole(values: &[f64]) -> Result<Comparison, nettoll_core::stats::StatsError> {
    let name = "a matched hop, over an empty program";
    Comparison::of_differences(name, "ns", values, Some(HOP_GOAL_NS))
}

/// A program's time without what an empty one takes on the same hook.
fn own_ns(program: &Program) -> Option<f64> {
    (program.matched > 0).then_some(program.mean_ns? - program.empty_mean_ns?)
}

/// Over all programs, by how often each matched.
fn weighted(programs: &[Program]) -> Option<f64> {
    let costs = || {
        programs
            .iter()
            .filter_map(|p| Some((p.matched as f64, own_ns(p)?)))
    };
    let matched: f64 = costs().map(|(matched, _)| matched).sum();
    let sum: f64 = costs().map(|(matched, own)| matched * own).sum();
    (matched > 0.0).then(|| sum / matched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(pair: u32, probe: bool, rtt: f64) -> Round {
        Round {
            pair,
            sequence: 0,
            probe,
            seconds: 0.1,
            bytes: None,
            transactions: Some(1),
            lost: None,
            throughput_bits_per_second: None,
            rtt_mean_ns: Some(rtt),
            rtt_p50_ns: None,
            cpu_busy_seconds: None,
            invalid_reason: None,
            disturbed: false,
        }
    }

    #[test]
    fn rounds_are_paired_with_over_without() {
        let bad = Round {
            invalid_reason: Some("steal".to_owned()),
            ..round(1, false, 9.0)
        };
        let rounds = [
            round(0, false, 1.0),
            round(0, true, 2.0),
            round(1, true, 3.0),
            bad,
            round(2, true, 5.0),
            round(2, false, 4.0),
        ];
        assert_eq!(paired(&rounds, MEAN), [[2.0, 1.0], [5.0, 4.0]]);
        assert!(paired(&rounds, MEDIAN).is_empty());
    }

    #[test]
    fn programs_count_by_how_often_they_matched() {
        let program = |matched, mean_ns, empty_mean_ns| Program {
            name: "p".to_owned(),
            node: "n1".to_owned(),
            kind: None,
            runs: 100,
            matched,
            mean_ns,
            empty_mean_ns,
        };
        let programs = [
            program(30, Some(70.0), Some(30.0)),
            program(10, Some(110.0), Some(30.0)),
            program(50, None, None),
            program(0, Some(500.0), Some(30.0)),
        ];
        assert_eq!(weighted(&programs), Some(50.0));
        assert_eq!(weighted(&programs[2..]), None);
    }
}
