//! What became better or worse between two reports.
//!
//! Runs of the same test on the same path with the same options are compared by their good rounds
//! in the same state of the probe, and the tolls of such runs with each other ([`pairing`] says which
//! runs these are). A toll is a path over its baseline of the same minutes, so that a slower machine
//! or a busier hour is in both and cancels: it is the better figure where reports are of different
//! days. A change is a regression where all of its 95 % interval is worse than the tolerance; what
//! the interval does not decide is called unclear.

mod pairing;

use serde::Serialize;

use self::pairing::{Pairing, state};
use crate::{
    endpoint::Path,
    report::{Report, Run, TestType, Toll, TollMetric},
    stats::{UnpairedRatio, unpaired_ratio},
    toll,
};

/// What a change is, by its interval and the tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Worse by more than the tolerance, all of the interval.
    Regressed,
    /// Better by more than the tolerance, all of the interval.
    Improved,
    /// Within the tolerance, all of the interval.
    Same,
    /// The interval says none of these.
    Unclear,
}

impl Verdict {
    /// The word for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Improved => "improved",
            Self::Same => "same",
            Self::Unclear => "unclear",
        }
    }
}

/// One figure in both reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The path.
    pub path: Path,
    /// The path in the new report, where pods have other names there; else `null`.
    pub new_path: Option<Path>,
    /// What the path is compared with in each report; `null` where the figure is the path's own.
    pub baseline: Option<Path>,
    /// The type of traffic.
    pub test: TestType,
    /// What is compared.
    pub metric: TollMetric,
    /// In the old report: the path's ratio to its baseline, or the geometric mean of its rounds.
    pub old: f64,
    /// The same in the new report.
    pub new: f64,
    /// New over old.
    pub ratio: f64,
    /// 95 % interval of `ratio`.
    pub ci95: [f64; 2],
    /// Worse by so many percent; below zero is better.
    pub worse_percent: f64,
    /// 95 % interval of `worse_percent`.
    pub worse_percent_ci95: [f64; 2],
    /// What that is.
    pub verdict: Verdict,
}

/// Two reports beside each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Changes {
    /// Tolls first, in the order of the old report.
    pub changes: Vec<Change>,
    /// What is in the old report and cannot be compared, and why.
    pub missing: Vec<String>,
}

impl Changes {
    /// Changes whose intervals reach beyond the tolerance on the worse side, but not as a whole.
    #[must_use]
    pub fn doubtful(&self, tolerance_percent: f64) -> usize {
        let doubtful = |change: &&Change| {
            change.verdict == Verdict::Unclear && change.worse_percent_ci95[1] > tolerance_percent
        };
        self.changes.iter().filter(doubtful).count()
    }

    /// How many changes are so.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        let so = |change: &&Change| change.verdict == verdict;
        self.changes.iter().filter(so).count()
    }
}

/// Which figures of reports are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figures {
    /// Tolls alone.
    Tolls,
    /// The paths' own figures alone.
    Paths,
    /// Both.
    All,
}

/// Compares all of the old report's with the new one's.
#[must_use]
pub fn changes(old: &Report, new: &Report, figures: Figures, tolerance_percent: f64) -> Changes {
    let mut found = Changes::default();
    let pairing = Pairing::new(old, new);
    let runs: Vec<_> = (old.runs.iter().zip(pairing.partners))
        .filter_map(|(run, partner)| match partner {
            Ok(partner) => Some((run, partner)),
            Err(missing) => {
                found.missing.push(missing);
                None
            }
        })
        .collect();
    if figures != Figures::Paths {
        for toll in &old.tolls {
            of_toll(toll, new, &runs, tolerance_percent, &mut found);
        }
    }
    if figures != Figures::Tolls {
        for (old, new) in &runs {
            of_run(old, new, tolerance_percent, &mut found);
        }
    }
    found
}

/// Runs that can be compared: of the old report, of the new one.
type Partners<'a> = [(&'a Run, &'a Run)];

fn of_toll(old: &Toll, new: &Report, runs: &Partners<'_>, tolerance: f64, into: &mut Changes) {
    let partners =
        [&old.run_id, &old.baseline_run_id].map(|id| runs.iter().find(|(run, _)| run.id == *id));
    // Those that have none are missing already.
    let [Some((run, path)), Some((baseline, new_baseline))] = partners else {
        return;
    };
    let what = || {
        let (metric, test) = (old.metric.as_str(), old.test);
        let (path, baseline) = (old.path.label(), old.baseline.label());
        format!("{path} against {baseline}, {test}: {metric}")
    };
    let is = |toll: &&Toll| {
        (toll.metric, &toll.run_id, &toll.baseline_run_id)
            == (old.metric, &path.id, &new_baseline.id)
    };
    let Some(other) = new.tolls.iter().find(is) else {
        into.missing
            .push(format!("{} has no toll in the new report", what()));
        return;
    };
    // Tolls are of rounds without the probe, where both runs have such.
    if state(&[run, baseline], old.metric) != state(&[path, new_baseline], old.metric) {
        into.missing.push(format!(
            "{} is of rounds with the probe in one report alone",
            what()
        ));
        return;
    }
    match UnpairedRatio::of_ratios((other.ratio, other.ci95), (old.ratio, old.ci95)) {
        Ok(ratio) => into.changes.push(change(
            Compared {
                paths: [&old.path, &other.path],
                baseline: Some(&old.baseline),
                test: old.test,
                metric: old.metric,
            },
            [old.ratio, other.ratio],
            ratio,
            tolerance,
        )),
        Err(error) => into.missing.push(format!("{} is no toll: {error}", what())),
    }
}

fn of_run(old: &Run, new: &Run, tolerance: f64, into: &mut Changes) {
    for &metric in toll::metrics(old.test) {
        let what = || format!("{}, {}: {}", old.path.label(), old.test, metric.as_str());
        let probe = state(&[old, new], metric);
        let [before, after] = [old, new].map(|run| -> Vec<f64> {
            let figures = toll::figures(run, metric, probe);
            figures.into_values().collect()
        });
        let measured = [false, true].map(|probe| !toll::figures(old, metric, probe).is_empty());
        if measured == [false, false] {
            // Not measured in the old report: nothing that could have changed.
            continue;
        }
        match unpaired_ratio(&after, &before) {
            Ok(ratio) => into.changes.push(change(
                Compared {
                    paths: [&old.path, &new.path],
                    baseline: None,
                    test: old.test,
                    metric,
                },
                [&before, &after].map(|values| geometric_mean(values)),
                ratio,
                tolerance,
            )),
            Err(error) => {
                let probe = if probe { "with" } else { "without" };
                into.missing
                    .push(format!("{}, {probe} the probe: {error}", what()));
            }
        }
    }
}

fn geometric_mean(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().map(|value| value.ln()).sum();
    (sum / values.len() as f64).exp()
}

/// What a change is of.
struct Compared<'a> {
    /// In the old and in the new report.
    paths: [&'a Path; 2],
    baseline: Option<&'a Path>,
    test: TestType,
    metric: TollMetric,
}

fn change(
    Compared {
        paths: [path, new_path],
        baseline,
        test,
        metric,
    }: Compared<'_>,
    [old, new]: [f64; 2],
    UnpairedRatio { ratio, ci95 }: UnpairedRatio,
    tolerance_percent: f64,
) -> Change {
    let worse_percent_ci95 = metric.overhead_interval(ci95);
    let [low, high] = worse_percent_ci95;
    let verdict = if low > tolerance_percent {
        Verdict::Regressed
    } else if high < -tolerance_percent {
        Verdict::Improved
    } else if -tolerance_percent <= low && high <= tolerance_percent {
        Verdict::Same
    } else {
        Verdict::Unclear
    };
    Change {
        path: path.clone(),
        new_path: (path != new_path).then(|| new_path.clone()),
        baseline: baseline.cloned(),
        test,
        metric,
        old,
        new,
        ratio,
        ci95,
        worse_percent: metric.overhead_percent(ratio),
        worse_percent_ci95,
        verdict,
    }
}

#[cfg(test)]
mod tests;
