//! The tolls, a table for each pair of paths.

use nettoll_core::report::{Report, Toll};

use super::{
    Style,
    table::{Align, Table},
    wrapped,
};
use crate::render::{
    units,
    view::{self, Comparison},
};

/// One section for each path and baseline.
pub(super) fn sections(report: &Report, style: Style) -> Vec<String> {
    view::comparisons(report)
        .iter()
        .map(|group| section(report, group, style))
        .collect()
}

fn section(report: &Report, group: &Comparison<'_>, style: Style) -> String {
    let wide = style.width() >= 100;
    let mut columns = vec![
        ("test", Align::Left),
        ("metric", Align::Left),
        ("path", Align::Right),
        ("against", Align::Right),
        ("overhead", Align::Right),
        ("95 % interval", Align::Right),
    ];
    if wide {
        columns.push(("pairs", Align::Right));
    }
    let mut table = Table::with_heading(&columns);
    for toll in &group.tolls {
        table.row(row(report, toll));
    }
    let pairs = if wide {
        String::new()
    } else {
        format!(", {}", pairs(&group.tolls))
    };
    let title = format!(
        "Toll: {} against {}{pairs}",
        group.path.label(),
        group.baseline.label()
    );
    let missing: String = view::missing(report, group)
        .iter()
        .map(|missing| wrapped(&missing.to_string(), style.width(), 2))
        .collect();
    format!(
        "{}\n{}{missing}",
        style.bold(&title),
        table.render(style.width())
    )
}

/// What was measured, and is in no toll.
pub(super) fn runs(report: &Report, style: Style) -> String {
    let runs = view::without_toll(report);
    if runs.is_empty() {
        return String::new();
    }
    let mut table = Table::with_heading(&[
        ("run", Align::Left),
        ("metric", Align::Left),
        ("mean", Align::Right),
        ("95 % interval", Align::Right),
    ]);
    for run in runs {
        for (metric, mean, ci95) in view::run_figures(run) {
            let interval = ci95.map(|ci95| ci95.map(|end| view::figure(metric, end)));
            table.row(vec![
                format!("{} {}", run.path.label(), run.test),
                metric.as_str().to_owned(),
                view::figure(metric, mean),
                interval.map_or_else(|| "–".to_owned(), |[low, high]| format!("{low} to {high}")),
            ]);
        }
    }
    let title = style.bold("Runs that are in no toll, with the probe");
    format!("{title}\n{}", table.render(style.width()))
}

fn row(report: &Report, toll: &Toll) -> Vec<String> {
    let values = view::values(report, toll);
    let figure = |value: Option<f64>| {
        value.map_or_else(|| "–".to_owned(), |value| view::figure(toll.metric, value))
    };
    let overhead = if toll.resolved {
        units::percent(toll.overhead_percent)
    } else {
        "not resolved".to_owned()
    };
    vec![
        toll.test.to_string(),
        toll.metric.as_str().to_owned(),
        figure(values.map(|(path, _)| path)),
        figure(values.map(|(_, baseline)| baseline)),
        overhead,
        units::percent_interval(view::overhead_interval(toll)),
        toll.pairs.to_string(),
    ]
}

/// `10 pairs`, `9 to 10 pairs`.
fn pairs(tolls: &[&Toll]) -> String {
    let pairs = || tolls.iter().map(|toll| toll.pairs);
    match (pairs().min().unwrap_or(0), pairs().max().unwrap_or(0)) {
        (low, high) if low == high => format!("{low} pairs"),
        (low, high) => format!("{low} to {high} pairs"),
    }
}
