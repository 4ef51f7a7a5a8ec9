//! The tolls: a table with a picture of each interval.

use nettoll_core::report::{Report, Toll};

use super::{
    Section,
    chart::{self, Scale, Verdict},
    markup::{Table, text},
};
use crate::render::{
    units,
    view::{self, Comparison},
};

pub(super) fn section(report: &Report) -> Section {
    let groups = view::comparisons(report);
    let mut body = String::from(
        "<p>What a path costs beyond its baseline. The dot is the measured overhead, the bar \
         through it the 95 % interval; to the right of the vertical line is a cost. A hollow dot \
         is not resolved: the interval contains zero, so nothing is claimed but that the cost is \
         inside it.</p>\n",
    );
    if groups.is_empty() {
        body += "<p>This report has no toll: nothing was compared, or too few pairs of rounds were good.</p>\n";
    }
    for group in &groups {
        body += &table(report, group);
    }
    body += &runs(report);
    Section::new("tolls", "Tolls", body)
}

fn table(report: &Report, group: &Comparison<'_>) -> String {
    let mut table = Table::new(&[
        "test",
        "metric",
        "num wide|path",
        "num wide|baseline",
        "num|overhead",
        "bar|",
        "num wide|95 % interval",
        "num wide|pairs",
    ]);
    let scale = scale(&group.tolls);
    table.heading("bar", chart::axis(scale, 4, units::percent_tick));
    for toll in &group.tolls {
        table.row(&row(report, toll, scale));
    }
    let title = format!("{} against {}", group.path.label(), group.baseline.label());
    let missing: String = view::missing(report, group)
        .iter()
        .map(|missing| format!("<p><small>{}</small></p>\n", text(&missing.to_string())))
        .collect();
    format!("<h3>{}</h3>\n{}{missing}", text(&title), table.render())
}

/// What was measured, and is in no toll.
fn runs(report: &Report) -> String {
    let runs = view::without_toll(report);
    if runs.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["run", "metric", "num|mean", "num|95 % interval"]);
    for run in runs {
        for (metric, mean, ci95) in view::run_figures(run) {
            let interval = ci95.map(|ci95| ci95.map(|end| view::figure(metric, end)));
            table.row(&[
                text(&format!("{} {}", run.path.label(), run.test)),
                metric.as_str().to_owned(),
                text(&view::figure(metric, mean)),
                interval.map_or_else(
                    || "–".to_owned(),
                    |[low, high]| text(&format!("{low} to {high}")),
                ),
            ]);
        }
    }
    format!(
        "<h3>Runs that are in no toll, with the probe</h3>\n{}",
        table.render()
    )
}

/// From the lowest to the highest end of all intervals, zero among them, with some room.
fn scale(tolls: &[&Toll]) -> Scale {
    let ends = || tolls.iter().flat_map(|toll| view::overhead_interval(toll));
    let low = ends().fold(0.0, f64::min);
    let high = ends().fold(0.0, f64::max);
    let room = (high - low) * 0.06;
    Scale::new(low - room, high + room)
}

fn row(report: &Report, toll: &Toll, scale: Scale) -> Vec<String> {
    let values = view::values(report, toll);
    let figure = |value: Option<f64>| {
        value.map_or_else(
            || "–".to_owned(),
            |value| text(&view::figure(toll.metric, value)),
        )
    };
    let interval = view::overhead_interval(toll);
    let interval_text = units::percent_interval(interval);
    let overhead = if toll.resolved {
        text(&units::percent(toll.overhead_percent))
    } else {
        // A hollow dot says the same: narrow screens need no words.
        let within = text(&units::within(interval));
        format!("<em><span class=\"wide\">not resolved, within </span>{within}</em>")
    };
    let verdict = match (toll.resolved, toll.overhead_percent > 0.0) {
        (false, _) => Verdict::Open,
        (true, true) => Verdict::More,
        (true, false) => Verdict::Less,
    };
    let title = format!(
        "{} {}: {} {interval_text}, {} pairs",
        toll.test,
        toll.metric.as_str(),
        units::percent(toll.overhead_percent),
        toll.pairs
    );
    vec![
        toll.test.to_string(),
        toll.metric.as_str().to_owned(),
        figure(values.map(|(path, _)| path)),
        figure(values.map(|(_, baseline)| baseline)),
        overhead,
        chart::interval(scale, toll.overhead_percent, interval, verdict, &title),
        text(&interval_text),
        toll.pairs.to_string(),
    ]
}
