//! Tolls in groups, and the figures behind them.

use nettoll_core::{
    endpoint::{Path, PathKind},
    report::{Report, Round, TestType, Toll, TollMetric},
};

use super::run;
use crate::render::units;

/// All tolls of one path against one baseline.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    pub(crate) path: &'a Path,
    pub(crate) baseline: &'a Path,
    pub(crate) tolls: Vec<&'a Toll>,
}

/// The comparisons, in the report's order, the headline's first.
pub(crate) fn comparisons(report: &Report) -> Vec<Comparison<'_>> {
    let mut groups: Vec<Comparison<'_>> = Vec::new();
    for toll in &report.tolls {
        let known = groups
            .iter_mut()
            .find(|group| *group.path == toll.path && *group.baseline == toll.baseline);
        match known {
            Some(group) => group.tolls.push(toll),
            None => groups.push(Comparison {
                path: &toll.path,
                baseline: &toll.baseline,
                tolls: vec![toll],
            }),
        }
    }
    // First what the report is about: the pod networks against the nodes' own, the network with
    // most tests before the others. The rest keeps its order.
    groups.sort_by_key(|group| {
        let kinds = (group.path.kind, group.baseline.kind);
        let main = kinds == (PathKind::PodToPod, PathKind::HostToHost);
        (
            !main,
            std::cmp::Reverse(if main { group.tolls.len() } else { 0 }),
        )
    });
    groups
}

/// A test that both paths ran, and that no interval could be had of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) test: TestType,
    /// Why rounds of the two runs are no good, each reason once.
    pub(crate) reasons: Vec<String>,
}

/// The tests that a comparison should have a toll of and has not.
pub(crate) fn missing(report: &Report, group: &Comparison<'_>) -> Vec<Missing> {
    let run_of = |path: &Path, test| {
        report
            .runs
            .iter()
            .find(move |run| run.path == *path && run.test == test)
    };
    let has_toll = |test| group.tolls.iter().any(|toll| toll.test == test);
    TestType::ALL
        .into_iter()
        .filter(|test| !has_toll(*test))
        .filter_map(|test| {
            let runs = [run_of(group.path, test)?, run_of(group.baseline, test)?];
            let rounds = runs.into_iter().flat_map(|run| &run.rounds);
            let mut reasons: Vec<_> = rounds
                .filter_map(|round| round.invalid_reason.clone())
                .collect();
            reasons.sort();
            reasons.dedup();
            Some(Missing { test, reasons })
        })
        .collect()
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no toll of {}: too few good pairs of rounds", self.test)?;
        match self.reasons.first() {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// The path that the report is about: the headline's, else the first run's.
pub(crate) fn subject(report: &Report) -> Option<&Path> {
    match comparisons(report).first() {
        Some(headline) => Some(headline.path),
        None => report.runs.first().map(|run| &run.path),
    }
}
/// The figures of a toll's two runs: geometric means over the pairs of good rounds without the
/// probe (with it, where there are no others), so that their ratio is the toll's.
pub(crate) fn values(report: &Report, toll: &Toll) -> Option<(f64, f64)> {
    let (path, baseline) = (
        run(report, &toll.run_id)?,
        run(report, &toll.baseline_run_id)?,
    );
    let pairs_with = |probe: bool| -> Vec<(f64, f64)> {
        let good = |round: &&Round| round.probe == probe && round.invalid_reason.is_none();
        let figure = |round: &Round| round_figure(round, toll.metric).filter(|value| *value > 0.0);
        path.rounds
            .iter()
            .filter(good)
            .filter_map(|round| {
                let other = baseline
                    .rounds
                    .iter()
                    .filter(good)
                    .find(|o| o.pair == round.pair)?;
                Some((figure(round)?, figure(other)?))
            })
            .collect()
    };
    let mut pairs = pairs_with(false);
    if pairs.is_empty() {
        pairs = pairs_with(true);
    }
    let mean = |sum: f64| (sum / pairs.len() as f64).exp();
    (!pairs.is_empty()).then(|| {
        (
            mean(pairs.iter().map(|(path, _)| path.ln()).sum()),
            mean(pairs.iter().map(|(_, baseline)| baseline.ln()).sum()),
        )
    })
}

/// What a toll's metric is in one round, in base units.
fn round_figure(round: &Round, metric: TollMetric) -> Option<f64> {
    match metric {
        TollMetric::Throughput => round.throughput_bits_per_second,
        TollMetric::Transactions => round.transactions.map(|count| count as f64 / round.seconds),
        TollMetric::RttMean | TollMetric::PathCost => round.rtt_mean_ns,
        TollMetric::RttP50 => round.rtt_p50_ns,
        TollMetric::CpuNsPerByte => match (round.cpu_busy_seconds, round.bytes) {
            (Some(seconds), Some(bytes)) if bytes > 0 => Some(seconds * 1e9 / bytes as f64),
            _ => None,
        },
    }
}

/// A metric's figure for people.
pub(crate) fn figure(metric: TollMetric, value: f64) -> String {
    match metric {
        TollMetric::Throughput => units::bit_rate(value),
        TollMetric::Transactions => format!("{} /s", units::digits(value)),
        TollMetric::RttMean | TollMetric::RttP50 | TollMetric::PathCost => units::time(value),
        TollMetric::CpuNsPerByte => format!("{} ns/B", units::digits(value)),
    }
}

/// The interval of [`Toll::overhead_percent`], in percent, low end first.
pub(crate) fn overhead_interval(toll: &Toll) -> [f64; 2] {
    let [low, high] = toll.ci95;
    if toll.metric.higher_is_better() {
        [(1.0 - high) * 100.0, (1.0 - low) * 100.0]
    } else {
        [(low - 1.0) * 100.0, (high - 1.0) * 100.0]
    }
}
