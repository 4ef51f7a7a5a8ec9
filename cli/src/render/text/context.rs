//! What the probe itself cost, and where all this was measured.

use std::collections::BTreeMap;

use nettoll_core::{
    endpoint::Path,
    report::{NodeContext, Report, Run},
};

use super::{
    Style,
    table::{Align, Table},
    wrapped,
};
use crate::render::{units, view};

/// The probe's own cost, one line a run, and what it lost.
pub(super) fn probe(report: &Report, style: Style) -> String {
    if report.runs.iter().all(|run| run.probe.programs.is_empty()) {
        return String::new();
    }
    let mut table = Table::with_heading(&[
        ("run", Align::Left),
        ("metric", Align::Left),
        ("change", Align::Right),
        ("95 % interval", Align::Right),
        ("hits", Align::Right),
    ]);
    for run in report
        .runs
        .iter()
        .filter(|run| !run.probe.programs.is_empty())
    {
        table.row(probe_row(run));
    }
    let title = style.bold("The probe's own cost: rounds with it against rounds without");
    let tiers = view::tiers(report);
    let tiers = tiers.map_or_else(String::new, |tiers| format!("  attached as: {tiers}\n"));
    format!(
        "{title}\n{}{}{tiers}  {}\n",
        table.render(style.width()),
        programs(report).render(style.width()),
        lost(&view::lost(report))
    )
}

/// What a hit of each program costs, as the last calibration found it.
fn programs(report: &Report) -> Table {
    let mut table = Table::with_heading(&[
        ("program", Align::Left),
        ("hits", Align::Right),
        ("matched", Align::Right),
        ("own time a hit", Align::Right),
    ]);
    for (name, cost) in view::programs(report) {
        table.row(vec![
            name.to_owned(),
            units::count(cost.runs),
            units::count(cost.matched),
            cost.own_ns.map_or_else(|| "–".to_owned(), units::time),
        ]);
    }
    table
}

fn probe_row(run: &Run) -> Vec<String> {
    let cost = &run.probe.cost;
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    let hits: u64 = run.probe.programs.iter().map(|program| program.runs).sum();
    let none = || "–".to_owned();
    vec![
        format!("{} {}", run.path.label(), run.test),
        cost.metric
            .map_or_else(none, |metric| metric.as_str().to_owned()),
        cost.ratio
            .map_or_else(none, |ratio| units::percent(percent(ratio))),
        cost.ci95
            .map_or_else(none, |ci95| units::percent_interval(ci95.map(percent))),
        units::count(hits),
    ]
}

fn lost(lost: &BTreeMap<&str, u64>) -> String {
    let seen: Vec<_> = lost
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{reason} {}", units::count(*count)))
        .collect();
    if seen.is_empty() {
        "lost: nothing".to_owned()
    } else {
        format!("lost: {}", seen.join(", "))
    }
}

/// Where and with what it was measured.
pub(super) fn section(report: &Report, style: Style) -> String {
    let context = &report.context;
    let version = format!("nettoll {}, {}", context.nettoll_version, context.started);
    let mut lines = vec![version, context.command.join(" ")];
    lines.extend(context.nodes.iter().map(node));
    if view::one_kernel(report) {
        lines.push("one kernel: all nodes share its CPUs and its clock".to_owned());
    }
    let ends = |path: &Path| format!("{}: {} → {}", path.label(), path.from, path.to);
    lines.extend(view::paths(report).into_iter().map(ends));
    lines.extend(view::disturbed(report));
    let lines: String = lines
        .iter()
        .map(|line| wrapped(line, style.width(), 2))
        .collect();
    format!("{}\n{lines}", style.bold("Context"))
}

fn node(node: &NodeContext) -> String {
    format!(
        "node {}: kernel {}, {} × {}, clock {}, CNI {}, agent {}",
        node.node,
        node.kernel,
        node.cpus,
        node.cpu_model,
        node.clock_source,
        node.cni.as_deref().unwrap_or("none recognised"),
        node.agent_version
    )
}
