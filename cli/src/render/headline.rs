//! What the path costs, in a few sentences made of measured values only.

use nettoll_core::report::{Report, Toll, TollMetric};

use super::{
    units,
    view::{self, Comparison},
};

/// A comparison in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Headline {
    /// `pod-to-pod over vxlan against host-to-host`.
    pub(crate) subject: String,
    /// One statement for each toll.
    pub(crate) statements: Vec<Statement>,
}

/// One toll in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// `throughput`, `mean round trip (tcp_rr)`.
    pub(crate) what: String,
    /// `−42.1 % [−44.0, −40.2]` or `not resolved, within ±1.8 %`.
    pub(crate) change: String,
    /// `2.41 against 8.40 Gbit/s`, where the rounds tell.
    pub(crate) values: Option<String>,
    /// The interval excludes no difference.
    pub(crate) resolved: bool,
    /// The path is the dearer one.
    pub(crate) dearer: bool,
}

/// The comparison that the report is about, and the same pair of kinds over other networks.
pub(crate) fn headlines(report: &Report) -> Vec<Headline> {
    let groups = view::comparisons(report);
    let Some(first) = groups.first() else {
        return Vec::new();
    };
    groups
        .iter()
        .filter(|group| {
            group.path.kind == first.path.kind && group.baseline.kind == first.baseline.kind
        })
        .map(|group| headline(report, group))
        .collect()
}

fn headline(report: &Report, group: &Comparison<'_>) -> Headline {
    let over = group
        .path
        .network
        .as_ref()
        .map(|name| format!(" over {name}"))
        .unwrap_or_default();
    Headline {
        subject: format!(
            "{}{over} against {}",
            group.path.kind,
            group.baseline.label()
        ),
        statements: statements(report, group),
    }
}

/// The tolls of a comparison in words; the median and the transactions say the same as the mean
/// round trip and stay in the tables.
fn statements(report: &Report, group: &Comparison<'_>) -> Vec<Statement> {
    let spoken =
        |toll: &&&Toll| !matches!(toll.metric, TollMetric::RttP50 | TollMetric::Transactions);
    let mut tolls: Vec<_> = group.tolls.iter().filter(spoken).copied().collect();
    tolls.sort_by_key(|toll| rank(toll.metric));
    tolls
        .into_iter()
        .map(|toll| statement(report, toll))
        .collect()
}

fn rank(metric: TollMetric) -> u8 {
    match metric {
        TollMetric::Throughput => 0,
        TollMetric::CpuNsPerByte => 1,
        TollMetric::PathCost => 2,
        _ => 3,
    }
}

fn statement(report: &Report, toll: &Toll) -> Statement {
    Statement {
        what: what(toll),
        change: change(toll),
        values: view::values(report, toll).map(|(path, baseline)| {
            let (path, baseline) = (
                view::figure(toll.metric, path),
                view::figure(toll.metric, baseline),
            );
            // `2.41 against 8.40 Gbit/s`: a unit that both share is said once.
            match (path.split_once(' '), baseline.split_once(' ')) {
                (Some((value, unit)), Some((_, other))) if unit == other => {
                    format!("{value} against {baseline}")
                }
                _ => format!("{path} against {baseline}"),
            }
        }),
        resolved: toll.resolved,
        dearer: toll.overhead_percent > 0.0,
    }
}

fn what(toll: &Toll) -> String {
    match toll.metric {
        TollMetric::Throughput => "throughput".to_owned(),
        TollMetric::CpuNsPerByte => "CPU per byte".to_owned(),
        TollMetric::PathCost => "one-way path cost".to_owned(),
        TollMetric::RttMean => format!("mean round trip ({})", toll.test),
        TollMetric::RttP50 => format!("median round trip ({})", toll.test),
        TollMetric::Transactions => format!("transactions ({})", toll.test),
    }
}

/// The change of the figure itself: less throughput is a minus, more time a plus.
pub(crate) fn change(toll: &Toll) -> String {
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    let interval = toll.ci95.map(percent);
    if toll.resolved {
        format!(
            "{} {}",
            units::percent(percent(toll.ratio)),
            units::percent_interval(interval)
        )
    } else {
        format!("not resolved, within {}", units::within(interval))
    }
}
