//! Tolls in groups, and the figures behind them.

use nettoll_core::{
    endpoint::{Path, PathKind},
    report::{Report, Round, Run, TestType, Toll, TollMetric},
    stats::MIN_PAIRS,
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

/// A test that both paths ran in too few good pairs of rounds for an interval.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) test: TestType,
    pub(crate) good_pairs: usize,
    /// Why rounds of the two runs are no good, each reason once.
    pub(crate) reasons: Vec<String>,
}

/// The tests that a comparison has no toll of because too few of its pairs were good.
pub(crate) fn missing(report: &Report, group: &Comparison<'_>) -> Vec<Missing> {
    let run_of = |path: &Path, test| {
        let mut runs = report.runs.iter();
        runs.find(|run| run.path == *path && run.test == test)
    };
    let has_toll = |test| group.tolls.iter().any(|toll| toll.test == test);
    let tests = TestType::ALL.into_iter().filter(|test| !has_toll(*test));
    tests
        .filter_map(|test| {
            let (path, baseline) = (run_of(group.path, test)?, run_of(group.baseline, test)?);
            let good_pairs = good_pairs(path, baseline, false).count();
            let rounds = path.rounds.iter().chain(&baseline.rounds);
            let mut reasons: Vec<_> = rounds
                .filter_map(|round| round.invalid_reason.clone())
                .collect();
            reasons.sort();
            reasons.dedup();
            (good_pairs < MIN_PAIRS).then_some(Missing {
                test,
                good_pairs,
                reasons,
            })
        })
        .collect()
}

/// The rounds of one pair that are good in both runs.
fn good_pairs<'a>(
    path: &'a Run,
    baseline: &'a Run,
    probe: bool,
) -> impl Iterator<Item = (&'a Round, &'a Round)> {
    let good = move |round: &&Round| round.probe == probe && round.invalid_reason.is_none();
    path.rounds.iter().filter(good).filter_map(move |round| {
        let mut others = baseline.rounds.iter().filter(good);
        Some((round, others.find(|other| other.pair == round.pair)?))
    })
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "no toll of {}: {} good pairs of rounds are too few",
            self.test, self.good_pairs
        )?;
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
        let figure = |round: &Round| round_figure(round, toll.metric).filter(|value| *value > 0.0);
        good_pairs(path, baseline, probe)
            .filter_map(|(path, baseline)| Some((figure(path)?, figure(baseline)?)))
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

/// A run's own main figures, from its rounds with the probe, each with its interval over the rounds
/// where it has one.
pub(crate) fn run_figures(run: &Run) -> Vec<(TollMetric, f64, Option<[f64; 2]>)> {
    let estimates = [
        (TollMetric::Throughput, run.throughput_bits_per_second),
        (TollMetric::Transactions, run.transactions_per_second),
    ];
    let mut figures: Vec<_> = estimates
        .into_iter()
        .filter_map(|(metric, estimate)| Some((metric, estimate?.mean, estimate?.ci95)))
        .collect();
    figures.extend(run.rtt_ns.as_ref().map(|rtt| match run.test {
        TestType::PathCost => (TollMetric::PathCost, rtt.mean, None),
        TestType::HttpRr => (TollMetric::RttP50, rtt.p50, None),
        _ => (TollMetric::RttMean, rtt.mean, None),
    }));
    figures
}

/// The runs that no toll tells of.
pub(crate) fn without_toll(report: &Report) -> Vec<&Run> {
    let told = |run: &Run| {
        let mut tolls = report.tolls.iter();
        tolls.any(|toll| toll.run_id == run.id || toll.baseline_run_id == run.id)
    };
    report.runs.iter().filter(|run| !told(run)).collect()
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
    toll.metric.overhead_interval(toll.ci95)
}
