//! What became better or worse between two reports.
//!
//! Runs of the same test on the same path with the same options are compared by their good rounds
//! without the probe, and tolls with each other. A toll is a path over its baseline of the same
//! minutes, so that a slower machine or a busier hour is in both and cancels: it is the better
//! figure where reports are of different days. A change is a regression where all of its 95 %
//! interval is worse than the tolerance; what the interval does not decide is called unclear.

use serde::Serialize;

use crate::{
    endpoint::Path,
    report::{Report, Run, TestType, Toll, TollMetric},
    stats::{StatsError, UnpairedRatio, unpaired_ratio},
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

/// Compares all that is in both reports. `tolerance`: a part, 0.05 for 5 %.
#[must_use]
pub fn changes(old: &Report, new: &Report, figures: Figures, tolerance: f64) -> Changes {
    let mut found = Changes::default();
    if figures != Figures::Paths {
        for toll in &old.tolls {
            match of_toll(toll, new, tolerance) {
                Ok(change) => found.changes.push(change),
                Err(missing) => found.missing.push(missing),
            }
        }
    }
    if figures != Figures::Tolls {
        for run in &old.runs {
            match counterpart(run, new) {
                Ok(other) => of_run(run, other, tolerance, &mut found),
                Err(missing) => found.missing.push(missing),
            }
        }
    }
    found
}

fn of_toll(old: &Toll, new: &Report, tolerance: f64) -> Result<Change, String> {
    let same = |toll: &&Toll| (toll.test, toll.metric) == (old.test, old.metric);
    let ways = |toll: &Toll| vec![toll.path.clone(), toll.baseline.clone()];
    let other = on_the_same_way(&ways(old), new.tolls.iter().filter(same), ways).pop();
    let other = other.ok_or_else(|| {
        let [path, baseline] = [&old.path, &old.baseline].map(Path::label);
        let (test, metric) = (old.test, old.metric.as_str());
        format!("{path} against {baseline}, {test}: no toll of {metric} in the new report")
    })?;
    let ratio = UnpairedRatio::of_ratios((other.ratio, other.ci95), (old.ratio, old.ci95));
    let baseline = Some(old.baseline.clone());
    let what = (old.path.clone(), baseline, old.test, old.metric);
    Ok(change(what, [old.ratio, other.ratio], ratio, tolerance))
}

/// The valid run of the new report that is of the same test, path and options.
fn counterpart<'a>(old: &Run, new: &'a Report) -> Result<&'a Run, String> {
    let what = || format!("{}, {}", old.path.label(), old.test);
    if !old.valid {
        return Err(format!("{}: invalid in the old report", what()));
    }
    let ways = |run: &Run| vec![run.path.clone()];
    let of_test = new.runs.iter().filter(|run| run.test == old.test);
    let mut found = on_the_same_way(&ways(old), of_test, ways);
    if found.is_empty() {
        return Err(format!("{}: not in the new report", what()));
    }
    found.retain(|run| traffic(run) == traffic(old));
    let run = found
        .pop()
        .ok_or_else(|| format!("{}: measured with other options in the new report", what()))?;
    if run.valid {
        Ok(run)
    } else {
        let why = run.invalid_reasons.join("; ");
        Err(format!("{}: invalid in the new report ({why})", what()))
    }
}

/// Those on these very paths; where there are none, those of the same kinds on the same networks, if
/// all of them are on the same paths: pods have other names after a while.
fn on_the_same_way<'a, T>(
    wanted: &[Path],
    all: impl Iterator<Item = &'a T>,
    ways: impl Fn(&T) -> Vec<Path>,
) -> Vec<&'a T> {
    let kinds = |paths: &[Path]| -> Vec<_> {
        let kind = |path: &Path| (path.kind, path.network.clone());
        paths.iter().map(kind).collect()
    };
    let (mut very, mut alike) = (Vec::new(), Vec::new());
    for one in all {
        let its = ways(one);
        if its == wanted {
            very.push(one);
        } else if kinds(&its) == kinds(wanted) {
            alike.push(one);
        }
    }
    if very.is_empty() && alike.windows(2).all(|two| ways(two[0]) == ways(two[1])) {
        return alike;
    }
    very
}

/// What shapes a run's traffic; for how long and in how many rounds is nothing to compare.
fn traffic(run: &Run) -> [u32; 3] {
    let options = &run.options;
    [
        options.message_bytes,
        options.request_bytes,
        options.response_bytes,
    ]
}

fn of_run(old: &Run, new: &Run, tolerance: f64, into: &mut Changes) {
    // Of the same state of the probe: without it where both have such rounds.
    let probe = ![old, new]
        .iter()
        .all(|run| run.rounds.iter().any(|round| !round.probe));
    for &metric in toll::metrics(old.test) {
        let [before, after] = [old, new]
            .map(|run| -> Vec<f64> { toll::figures(run, metric, probe).into_values().collect() });
        match unpaired_ratio(&after, &before) {
            Ok(ratio) => {
                let means = [&before, &after].map(|values| geometric_mean(values));
                let what = (old.path.clone(), None, old.test, metric);
                into.changes.push(change(what, means, ratio, tolerance));
            }
            // Not measured on either side: nothing that could have changed.
            Err(StatsError::Empty) if before.is_empty() => {}
            Err(error) => into.missing.push(format!(
                "{}, {}: no {} of both: {error}",
                old.path.label(),
                old.test,
                metric.as_str()
            )),
        }
    }
}

fn geometric_mean(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().map(|value| value.ln()).sum();
    (sum / values.len() as f64).exp()
}

fn change(
    (path, baseline, test, metric): (Path, Option<Path>, TestType, TollMetric),
    [old, new]: [f64; 2],
    UnpairedRatio { ratio, ci95 }: UnpairedRatio,
    tolerance: f64,
) -> Change {
    let worse = |ratio: f64| {
        if metric.higher_is_better() {
            1.0 - ratio
        } else {
            ratio - 1.0
        }
    };
    let mut ends = ci95.map(worse);
    ends.sort_by(f64::total_cmp);
    let [low, high] = ends;
    let verdict = if low > tolerance {
        Verdict::Regressed
    } else if high < -tolerance {
        Verdict::Improved
    } else if -tolerance <= low && high <= tolerance {
        Verdict::Same
    } else {
        Verdict::Unclear
    };
    Change {
        path,
        baseline,
        test,
        metric,
        old,
        new,
        ratio,
        ci95,
        worse_percent: worse(ratio) * 100.0,
        worse_percent_ci95: [low * 100.0, high * 100.0],
        verdict,
    }
}

#[cfg(test)]
mod tests;
