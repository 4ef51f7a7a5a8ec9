//! The top of the page: what the path costs, in words.

use nettoll_core::report::{Report, TollMetric};

use super::markup::text;
use crate::render::{
    headline::{self, Headline},
    units, view,
};

/// The page's title.
pub(super) fn title(report: &Report) -> String {
    match headline::headlines(report).first() {
        Some(headline) => format!("nettoll: {}", headline.subject),
        None => "nettoll: report".to_owned(),
    }
}

/// The answer first, then the figures that it rests on, then what must not be believed.
pub(super) fn header(report: &Report) -> String {
    let headlines = headline::headlines(report);
    let figures: String = headlines.iter().map(figures).collect();
    format!(
        "<header>\n<p class=\"over\">{}</p>\n<h1>{}</h1>\n{}{figures}{}</header>\n",
        text(&origin(report)),
        answer(report),
        explanation(report),
        warnings(report)
    )
}

/// `nettoll 0.1.0 · 2025-01-01T12:00:00Z · kernel 6.18.15`.
fn origin(report: &Report) -> String {
    let context = &report.context;
    let mut parts = vec![
        format!("nettoll {}", context.nettoll_version),
        context.started.clone(),
    ];
    if let Some(node) = context.nodes.first() {
        parts.push(format!("kernel {}", node.kernel));
    }
    parts.join(" · ")
}

/// One sentence, of measured values only.
fn answer(report: &Report) -> String {
    let groups = view::comparisons(report);
    let Some(group) = groups.first() else {
        let subject = view::subject(report).map(|path| text(&path.label()));
        return subject.map_or_else(
            || "Nothing was measured".to_owned(),
            |label| format!("{label}: measured, without a toll"),
        );
    };
    let over = group
        .path
        .network
        .as_ref()
        .map(|name| format!(" over {name}"))
        .unwrap_or_default();
    let path = text(&format!("{}{over}", group.path.kind));
    let baseline = text(&group.baseline.label());
    let toll = |metric| {
        group
            .tolls
            .iter()
            .find(|toll| toll.metric == metric && toll.resolved)
    };
    let change = |ratio: f64| text(&units::plain_percent((ratio - 1.0) * 100.0));
    if let Some(toll) = toll(TollMetric::Throughput) {
        let word = if toll.ratio < 1.0 { "less" } else { "more" };
        return format!(
            "{path} carries {} {word} than {baseline}",
            change(toll.ratio)
        );
    }
    let costs = [
        (TollMetric::PathCost, "one packet one way takes"),
        (TollMetric::RttMean, "a round trip takes"),
        (TollMetric::CpuNsPerByte, "a byte takes"),
    ];
    for (metric, words) in costs {
        if let Some(toll) = toll(metric) {
            let word = if toll.ratio < 1.0 { "less" } else { "more" };
            let cpu = if metric == TollMetric::CpuNsPerByte {
                " CPU"
            } else {
                ""
            };
            let change = change(toll.ratio);
            return format!("{path}: {words} {change} {word}{cpu} than on {baseline}");
        }
    }
    format!("{path} and {baseline}: no difference is resolved")
}

/// Which stages the extra time of a packet is in, by `path_cost`.
fn explanation(report: &Report) -> String {
    let Some(extra) = view::extra_stages(report) else {
        return String::new();
    };
    let largest: Vec<_> = extra
        .stages
        .iter()
        .take(4)
        .filter(|(_, ns)| *ns > 0.0)
        .map(|(name, ns)| format!("<b>{}</b> {}", text(name), text(&units::time(*ns))))
        .collect();
    if largest.is_empty() || extra.total_ns <= 0.0 {
        return String::new();
    }
    format!(
        "<p class=\"lead\">One packet spends {} more on its way through the kernel. The \
         largest parts: {}.</p>\n",
        text(&units::time(extra.total_ns)),
        largest.join(", ")
    )
}

fn figures(headline: &Headline) -> String {
    let statements: String = headline
        .statements
        .iter()
        .map(|statement| {
            let class = match (statement.resolved, statement.dearer) {
                (false, _) => "figure unresolved",
                (true, true) => "figure",
                (true, false) => "figure cheaper",
            };
            let (large, small) = match statement.change.split_once(" [") {
                Some((change, interval)) => (change.to_owned(), format!("[{interval}")),
                None => statement
                    .change
                    .split_once(", ")
                    .map(|(large, small)| (large.to_owned(), small.to_owned()))
                    .unwrap_or_default(),
            };
            format!(
                "<div class=\"{class}\"><dt>{}</dt><dd><strong>{}</strong> <small>{}</small>\
                 <span>{}</span></dd></div>\n",
                text(&statement.what),
                text(&large),
                text(&small),
                text(statement.values.as_deref().unwrap_or_default())
            )
        })
        .collect();
    format!(
        "<h3>{}</h3>\n<dl class=\"figures\">\n{statements}</dl>\n",
        text(&headline.subject)
    )
}

fn warnings(report: &Report) -> String {
    let told = view::warnings(report).into_iter();
    told.map(|line| format!("<p class=\"warning\">{}</p>\n", text(&line)))
        .collect()
}
