//! What the probe itself cost, and where all this was measured.

use nettoll_core::report::{NodeContext, ProbeCost, Report, Run, TollMetric};

use super::{
    Section,
    chart::{self, Scale, Verdict},
    markup::{Table, text},
};
use crate::render::{units, view};

/// The probe's own cost: part of every result.
pub(super) fn probe(report: &Report) -> Option<Section> {
    let runs: Vec<_> = report
        .runs
        .iter()
        .filter(|run| !run.probe.programs.is_empty())
        .collect();
    if runs.is_empty() {
        return None;
    }
    let mut table = Table::new(&[
        "run",
        "wide|metric",
        "num|change",
        "bar|",
        "num wide|95 % interval",
        "num wide|program runs",
    ]);
    let intervals: Vec<_> = runs
        .iter()
        .filter_map(|run| interval(&run.probe.cost))
        .collect();
    let ends = || intervals.iter().flat_map(|(_, interval)| interval).copied();
    let (low, high) = (ends().fold(0.0, f64::min), ends().fold(0.0, f64::max));
    let room = (high - low) * 0.06;
    let scale = Scale::new(low - room, high + room);
    table.heading("bar", chart::axis(scale, 4, units::percent_tick));
    for run in &runs {
        table.row(&probe_row(run, scale));
    }
    let mut body = String::from(
        "<p>The probe is paid for too. Each run has rounds with it and rounds without it, one after \
         the other; this is how the run's main figure changed with it. The tolls above come from the \
         rounds without it, stages and CPU from those with it. A dash: too few good pairs of rounds.</p>\n",
    );
    body += &table.render();
    body += &programs(report);
    body += &format!("<p>{}</p>\n", text(&lost(report)));
    Some(Section::new("probe", "The probe’s own cost", body))
}

fn programs(report: &Report) -> String {
    let mut table = Table::new(&[
        "program",
        "num|hits",
        "num|of the run’s packets",
        "num|own time a hit",
    ]);
    for (name, cost) in view::programs(report) {
        table.row(&[
            text(name),
            units::count(cost.runs),
            units::count(cost.matched),
            cost.own_ns
                .map_or_else(|| "–".to_owned(), |ns| text(&units::time(ns))),
        ]);
    }
    let tiers = view::tiers(report);
    let tiers = tiers.map_or_else(String::new, |tiers| format!(" Attached as: {tiers}."));
    format!(
        "<details><summary>The probe’s programs</summary>\n<p>Own time is a hit’s run time by the \
         kernel’s statistics in a calibration slice, less that of an empty program on the same \
         hook.{}</p>\n{}</details>\n",
        text(&tiers),
        table.render()
    )
}

/// The change in percent and its interval.
fn interval(cost: &ProbeCost) -> Option<(f64, [f64; 2])> {
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    Some((percent(cost.ratio?), cost.ci95?.map(percent)))
}

fn probe_row(run: &Run, scale: Scale) -> Vec<String> {
    let cost = &run.probe.cost;
    let none = || "–".to_owned();
    let picture = interval(cost).map(|(change, interval)| {
        let higher_is_better = cost.metric.is_some_and(TollMetric::higher_is_better);
        let verdict = match interval {
            [low, high] if low <= 0.0 && high >= 0.0 => Verdict::Open,
            [low, _] if (low > 0.0) != higher_is_better => Verdict::More,
            _ => Verdict::Less,
        };
        let title = format!(
            "{} {}",
            units::percent(change),
            units::percent_interval(interval)
        );
        chart::interval(scale, change, interval, verdict, &title)
    });
    let hits: u64 = run.probe.programs.iter().map(|program| program.runs).sum();
    vec![
        text(&format!("{} {}", run.path.label(), run.test)),
        cost.metric
            .map_or_else(none, |metric| metric.as_str().to_owned()),
        cost.ratio
            .map_or_else(none, |ratio| text(&units::percent((ratio - 1.0) * 100.0))),
        picture.unwrap_or_default(),
        interval(cost).map_or_else(none, |(_, ci)| text(&units::percent_interval(ci))),
        units::count(hits),
    ]
}

fn lost(report: &Report) -> String {
    let lost = view::lost(report);
    let seen: Vec<_> = lost
        .iter()
        .map(|(reason, count)| format!("{reason} {}", units::count(*count)))
        .collect();
    if seen.is_empty() {
        "The probe named no reason for losses.".to_owned()
    } else {
        format!(
            "What the probe lost, by reason, over all runs: {}.",
            seen.join(", ")
        )
    }
}

/// Kernel, CPU, devices: what a result depends on besides the path.
pub(super) fn place(report: &Report) -> Section {
    let context = &report.context;
    let mut body = String::new();
    if view::one_kernel(report) {
        body += "<p>All nodes are network namespaces of <strong>one kernel</strong>: they share its \
                 CPUs and its clock. Times between nodes are therefore observed, and CPU is that of \
                 the whole machine.</p>\n";
    }
    let mut table = Table::new(&[
        "node",
        "kernel",
        "CPU",
        "wide|clock",
        "wide|CNI",
        "wide|agent",
    ]);
    for node in &context.nodes {
        table.row(&[
            text(&node.node),
            text(&node.kernel),
            format!("{} × {}", node.cpus, text(&node.cpu_model)),
            text(&node.clock_source),
            text(node.cni.as_deref().unwrap_or("none recognised")),
            text(&node.agent_version),
        ]);
    }
    body += &table.render();
    let mut ends = Table::new(&["path", "from", "to"]);
    for path in view::paths(report) {
        let [from, to] = [&path.from, &path.to].map(|end| text(&end.to_string()));
        ends.row(&[text(&path.label()), from, to]);
    }
    body += &ends.render();
    if let Some(disturbed) = view::disturbed(report) {
        body += &format!("<p>{}.</p>\n", text(&disturbed));
    }
    body += &devices(&context.nodes);
    body += &format!(
        "<p>Begun {} with <code>{}</code>.</p>\n",
        text(&context.started),
        text(&context.command.join(" "))
    );
    Section::new("context", "Where it was measured", body)
}

fn devices(nodes: &[NodeContext]) -> String {
    let mut table = Table::new(&[
        "place",
        "device",
        "kind",
        "num|MTU",
        "wide|qdisc",
        "wide|driver",
        "offloads",
    ]);
    for device in nodes.iter().flat_map(|node| &node.devices) {
        let or_dash = |value: &Option<String>| text(value.as_deref().unwrap_or("–"));
        let offloads = device.offloads.as_ref().map(|names| names.join(", "));
        table.row(&[
            text(&device.place),
            text(&device.name),
            device.kind.as_str().to_owned(),
            device.mtu.to_string(),
            or_dash(&device.qdisc),
            or_dash(&device.driver),
            format!("<small>{}</small>", or_dash(&offloads)),
        ]);
    }
    format!(
        "<details><summary>Devices and their settings</summary>\n{}</details>\n",
        table.render()
    )
}
