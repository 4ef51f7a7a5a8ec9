//! Where the time goes: the waterfall of one run, and what `path_cost` paths are made of.

use nettoll_core::report::{Report, Run, Stage, StageClass};

use super::{
    Style,
    table::{Align, Table},
};
use crate::render::{
    units,
    view::{self, Passed, Sums},
};

/// The stages of a run, both directions and sides, with sums and closure.
pub(super) fn waterfall(run: &Run, style: Style) -> String {
    let stages = run.stages.as_deref().unwrap_or_default();
    let mean = view::trip_mean(run);
    let mut text = style.bold(&title(run, mean));
    text.push('\n');
    let bar = if style.width() >= 100 { 34 } else { 6 };
    let longest = view::longest_between_sockets(stages);
    let mut table = Table::with_heading(&[
        ("stage", Align::Left),
        ("device", Align::Left),
        ("class", Align::Left),
        ("mean", Align::Right),
        ("p50", Align::Right),
        ("p99", Align::Right),
        ("packets", Align::Right),
        ("", Align::Left),
    ]);
    for leg in view::legs(run) {
        if leg.side.is_some() {
            table.line(format!("{}:", leg.title()));
        }
        for Passed { stage, .. } in leg.stages {
            table.row(stage_row(stage, bar_text(stage, longest, bar)));
        }
    }
    text += &table.render(style.width());
    if style.width() >= 100 {
        text += &style
            .faint("  bars: █ work, ░ wait, ▒ mixed or unknown, ▸ longer than there is room\n");
    }
    if run.test.has_segments() {
        text += &style.faint("  per sk_buff; most of them hold many wire packets (GSO)\n");
    } else if run.test.is_stream() {
        text += &style.faint("  per datagram\n");
    } else {
        text += &sums_lines(&view::sums(run), mean, run.closure);
        if view::lacks_stages(run) {
            text += "  no closure: stages are absent, as said above\n";
        }
    }
    text
}

fn title(run: &Run, mean: Option<f64>) -> String {
    let path = run.path.label();
    match mean {
        Some(mean) => format!("Stages of {path}, {}: mean {}", run.test, units::time(mean)),
        None => format!("Stages of {path}, {}", run.test),
    }
}

fn stage_row(stage: &Stage, bar: String) -> Vec<String> {
    let time = |ns: Option<f64>| ns.map_or_else(|| "–".to_owned(), units::time);
    let name = match stage.derived {
        true => format!("{} (derived)", stage.stage),
        false => stage.stage.clone(),
    };
    vec![
        name,
        stage.device.clone().unwrap_or_default(),
        view::class_word(stage).to_owned(),
        units::time(stage.mean_ns),
        time(stage.p50_ns),
        time(stage.p99_ns),
        stage.packets.map_or_else(|| "–".to_owned(), units::count),
        bar,
    ]
}

fn bar_text(stage: &Stage, longest: f64, width: usize) -> String {
    let ink = match stage.class {
        Some(StageClass::Work) => "█",
        Some(StageClass::Wait) => "░",
        Some(StageClass::Mixed) | None => "▒",
    };
    let part = if longest > 0.0 {
        stage.mean_ns / longest
    } else {
        0.0
    };
    let columns = (part * width as f64).round() as usize;
    if columns > width {
        format!("{}▸", ink.repeat(width))
    } else {
        ink.repeat(columns)
    }
}

/// Sums of work and wait apart, what is left, and how much of the whole all stages explain.
fn sums_lines(sums: &Sums, mean: Option<f64>, closure: Option<f64>) -> String {
    let mut parts = vec![
        format!("work {}", units::time(sums.work_ns)),
        format!("wait {}", units::time(sums.wait_ns)),
        format!("mixed {}", units::time(sums.mixed_ns)),
    ];
    if sums.unknown_ns > 0.0 {
        parts.push(format!(
            "unknown to the table {}",
            units::time(sums.unknown_ns)
        ));
    }
    parts.push(format!(
        "unattributed {}",
        units::time(sums.unattributed_ns)
    ));
    let mut text = format!("  {}\n", parts.join(" · "));
    if let (Some(closure), Some(mean)) = (closure, mean) {
        text += &format!(
            "  closure {closure:.3}: the stages explain {} of {}\n",
            units::share(closure),
            units::time(mean)
        );
    }
    text
}

/// `path_cost` of all paths, one column each, stages of one name added up.
pub(super) fn path_costs(report: &Report, style: Style) -> String {
    let runs = view::path_costs(report);
    if runs.is_empty() {
        return String::new();
    }
    let names = view::stage_names(&runs);
    let mut text = style.bold("path_cost: one datagram one way, no wake-up in it");
    text.push('\n');
    // As many paths side by side as fit: a column is as wide as its heading.
    for part in runs.chunks(if style.width() >= 110 { 5 } else { 3 }) {
        let mut columns = vec![Align::Left];
        columns.resize(1 + part.len(), Align::Right);
        let mut table = Table::new(columns);
        table.row(cells("", part, |run| run.path.kind.to_string()));
        if part.iter().any(|run| run.path.network.is_some()) {
            table.row(cells("", part, |run| {
                run.path.network.clone().unwrap_or_default()
            }));
        }
        for name in &names {
            table.row(cells(name, part, |run| {
                view::stage_total(run, name).map_or_else(String::new, units::time)
            }));
        }
        let sum = |f: fn(&Sums) -> f64| move |run: &&Run| units::time(f(&view::sums(run)));
        table.row(cells("sum of work", part, sum(|sums| sums.work_ns)));
        table.row(cells("sum of wait", part, sum(|sums| sums.wait_ns)));
        table.row(cells("sum of mixed", part, sum(|sums| sums.mixed_ns)));
        table.row(cells("one way, mean", part, |run| {
            view::trip_mean(run).map_or_else(|| "–".to_owned(), units::time)
        }));
        table.row(cells("closure", part, |run| {
            run.closure
                .map_or_else(|| "–".to_owned(), |closure| format!("{closure:.3}"))
        }));
        text += &table.render(style.width());
    }
    text
}

fn cells(first: &str, runs: &[&Run], cell: impl Fn(&&Run) -> String) -> Vec<String> {
    std::iter::once(first.to_owned())
        .chain(runs.iter().map(cell))
        .collect()
}
