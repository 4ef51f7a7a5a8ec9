//! What a path costs beyond its baseline, and what the probe costs, from pairs of rounds.
//!
//! Rounds of two runs that carry the same pair number ran one after the other. A pair counts where
//! both of its rounds are good. Tolls are of rounds without the probe, so that its own cost is not
//! in them; runs that have none are compared by those with it.

use std::collections::BTreeMap;

use crate::{
    report::{ProbeCost, Round, Run, TestType, Toll, TollMetric},
    stats::{PairedRatio, StatsError, paired_ratio},
};

#[cfg(test)]
pub(crate) mod tests;

/// Why there is no toll.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TollError {
    /// Nothing to compare.
    #[error(
        "{path} is a {path_test} run and {baseline} a {baseline_test} run; compare runs of one test"
    )]
    Tests {
        /// The path's label.
        path: String,
        /// What it ran.
        path_test: TestType,
        /// The baseline's label.
        baseline: String,
        /// What it ran.
        baseline_test: TestType,
    },
    /// One metric's pairs.
    #[error("{what}: no {}: {reason}", .metric.as_str())]
    Metric {
        /// What was compared, in words.
        what: String,
        /// Which metric.
        metric: TollMetric,
        /// Why not.
        reason: StatsError,
    },
}

/// The tolls of one path against one baseline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tolls {
    /// One for each metric of the test.
    pub tolls: Vec<Toll>,
    /// Metrics without a toll, and why.
    pub missing: Vec<TollError>,
}

/// The metrics in which paths are compared, the test's main one first.
#[must_use]
pub fn metrics(test: TestType) -> &'static [TollMetric] {
    match test {
        TestType::TcpStream | TestType::TcpReverse | TestType::UdpStream => {
            &[TollMetric::Throughput, TollMetric::CpuNsPerByte]
        }
        TestType::TcpRr | TestType::UdpRr => &[
            TollMetric::RttMean,
            TollMetric::RttP50,
            TollMetric::Transactions,
        ],
        TestType::PathCost => &[TollMetric::PathCost],
        TestType::HttpRr => &[TollMetric::RttP50],
    }
}

/// Compares a path's run with its baseline's, metric by metric.
#[must_use]
pub fn tolls(path: &Run, baseline: &Run) -> Tolls {
    let mut found = Tolls::default();
    if path.test != baseline.test {
        found.missing.push(TollError::Tests {
            path: path.path.label(),
            path_test: path.test,
            baseline: baseline.path.label(),
            baseline_test: baseline.test,
        });
        return found;
    }
    let without_probe = |run: &Run| run.rounds.iter().any(|round| !round.probe);
    let probe = !(without_probe(path) && without_probe(baseline));
    for &metric in metrics(path.test) {
        let sides = [path, baseline].map(|run| figures(run, metric, probe));
        match compare(&sides) {
            Ok(ratio) => found.tolls.push(toll(path, baseline, metric, &ratio)),
            Err(reason) => found.missing.push(TollError::Metric {
                what: format!(
                    "{} against {}, {}",
                    path.path.label(),
                    baseline.path.label(),
                    path.test
                ),
                metric,
                reason,
            }),
        }
    }
    found
}

/// What the probe cost a run that has rounds of both states: its main figure with the probe over
/// that without. All `None` where it has not.
pub fn probe_cost(run: &Run) -> Result<ProbeCost, TollError> {
    let nothing = ProbeCost {
        ratio: None,
        ci95: None,
        metric: None,
    };
    let both = [true, false].map(|probe| run.rounds.iter().any(|round| round.probe == probe));
    let Some(&metric) = metrics(run.test).first().filter(|_| both == [true, true]) else {
        return Ok(nothing);
    };
    let sides = [true, false].map(|probe| figures(run, metric, probe));
    let ratio = compare(&sides).map_err(|reason| TollError::Metric {
        what: format!("the probe's cost on {}, {}", run.path.label(), run.test),
        metric,
        reason,
    })?;
    Ok(ProbeCost {
        ratio: Some(ratio.ratio),
        ci95: Some(ratio.ci95),
        metric: Some(metric),
    })
}

/// The figures of a run's good rounds in one state of the probe, by pair.
pub(crate) fn figures(run: &Run, metric: TollMetric, probe: bool) -> BTreeMap<u32, f64> {
    let good = run
        .rounds
        .iter()
        .filter(|round| round.probe == probe && round.invalid_reason.is_none());
    good.filter_map(|round| Some((round.pair, figure(round, metric)?)))
        .collect()
}

/// One round's figure, `None` where it was not measured.
fn figure(round: &Round, metric: TollMetric) -> Option<f64> {
    match metric {
        TollMetric::Throughput => round.throughput_bits_per_second,
        TollMetric::Transactions => Some(round.transactions? as f64 / round.seconds),
        // One way of `path_cost` is in the place of the round trip.
        TollMetric::RttMean | TollMetric::PathCost => round.rtt_mean_ns,
        TollMetric::RttP50 => round.rtt_p50_ns,
        TollMetric::CpuNsPerByte => Some(round.cpu_busy_seconds? * 1e9 / round.bytes? as f64),
    }
}

/// The ratio of the pairs that both have.
fn compare([path, baseline]: &[BTreeMap<u32, f64>; 2]) -> Result<PairedRatio, StatsError> {
    let pairs = path
        .iter()
        .filter_map(|(pair, value)| Some((*value, *baseline.get(pair)?)));
    let (path, baseline): (Vec<f64>, Vec<f64>) = pairs.unzip();
    paired_ratio(&path, &baseline)
}

fn toll(path: &Run, baseline: &Run, metric: TollMetric, found: &PairedRatio) -> Toll {
    Toll {
        path: path.path.clone(),
        baseline: baseline.path.clone(),
        run_id: path.id.clone(),
        baseline_run_id: baseline.id.clone(),
        test: path.test,
        metric,
        ratio: found.ratio,
        ci95: found.ci95,
        overhead_percent: metric.overhead_percent(found.ratio),
        resolved: found.resolved(),
        pairs: u32::try_from(found.pairs).unwrap_or(u32::MAX),
    }
}
