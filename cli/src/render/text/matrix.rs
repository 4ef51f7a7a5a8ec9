//! A matrix: a table for each test, or a preset's own.

use nettoll_core::{
    matrix::{Cell, Column, Matrix, Missing, Outcome, Preset},
    report::{Run, TestType, Toll, TollMetric},
};

use super::{
    Style, context,
    table::{Align, Table},
    wrapped,
};
use crate::render::{units, view};

/// What stands where no figure is.
const NONE: &str = "–";

/// The whole matrix.
pub(crate) fn matrix(matrix: &Matrix, style: Style) -> String {
    let mut sections = match matrix.asked.preset {
        Some(preset @ (Preset::Cni | Preset::Flannel)) => vec![grid(matrix, preset, style)],
        Some(Preset::PerfTests) | None => tests(matrix)
            .into_iter()
            .map(|test| section(matrix, test, style))
            .collect(),
    };
    sections.push(faults(matrix, style));
    if let Some(report) = matrix.report() {
        let busy = view::busy(&report);
        sections.push(busy.map_or_else(String::new, |told| alarm(&told, style)));
        sections.push(context::section(&report, style));
    }
    sections.retain(|section| !section.is_empty());
    sections.join("\n")
}

/// A cell's main figure, and what it costs beyond the cell's baseline.
struct Figure<'a> {
    metric: TollMetric,
    mean: f64,
    ci95: Option<[f64; 2]>,
    toll: Option<&'a Toll>,
}

impl<'a> Figure<'a> {
    fn of(cell: &'a Cell) -> Option<Self> {
        let (metric, mean, ci95) = view::run_figures(cell.run()?).into_iter().next()?;
        let mut tolls = cell.measured()?.tolls.iter();
        Some(Self {
            metric,
            mean,
            ci95,
            toll: tolls.find(|toll| toll.metric == metric),
        })
    }

    fn mean(&self) -> String {
        view::figure(self.metric, self.mean)
    }

    /// `±1.8 %`: the interval of a mean over rounds is as wide on both sides.
    fn interval(&self) -> Option<String> {
        let part = |end: f64| (end / self.mean - 1.0) * 100.0;
        self.ci95.map(|ci95| units::within(ci95.map(part)))
    }

    /// `+41.9 % [+40.1, +43.7]`, or how much it can be at most where it was not resolved.
    fn overhead(&self) -> Option<String> {
        let toll = self.toll?;
        let interval = view::overhead_interval(toll);
        Some(if toll.resolved {
            let overhead = units::percent(toll.overhead_percent);
            format!("{overhead} {}", units::percent_interval(interval))
        } else {
            format!("within {}", units::within(interval))
        })
    }
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| NONE.to_owned())
}

/// What stands in the place of a cell's figure.
fn state(cell: &Cell) -> &'static str {
    match &cell.outcome {
        Outcome::Waiting => "not yet",
        Outcome::Failed(_) => "failed",
        Outcome::Measured(_) => "invalid",
    }
}

/// The tests, each once.
fn tests(matrix: &Matrix) -> Vec<TestType> {
    let mut tests = Vec::new();
    for cell in &matrix.cells {
        if !tests.contains(&cell.test) {
            tests.push(cell.test);
        }
    }
    tests
}

/// The cells of one test.
fn section(matrix: &Matrix, test: TestType, style: Style) -> String {
    let cells = || matrix.cells.iter().filter(|cell| cell.test == test);
    let metric = cells()
        .find_map(Figure::of)
        .map_or("figure", |figure| figure.metric.as_str());
    let times = cells().any(|cell| cell.run().is_some_and(|run| run.rtt_ns.is_some()));
    let datagrams = cells().any(|cell| cell.run().is_some_and(|run| run.udp.is_some()));
    let wide = style.width() >= 100;
    let sizes = cells().any(|cell| cell.mss_bytes.is_some());
    let mut columns = vec![("path", Align::Left)];
    columns.extend(sizes.then_some(("MSS", Align::Right)));
    columns.extend([(metric, Align::Right), ("95 %", Align::Right)]);
    if times {
        columns.push(("p50", Align::Right));
        columns.extend(wide.then_some(("p99", Align::Right)));
    }
    if datagrams {
        columns.extend([("lost", Align::Right), ("jitter", Align::Right)]);
    }
    columns.push(("overhead", Align::Right));
    let mut table = Table::with_heading(&columns);
    for cell in cells() {
        let figure = Figure::of(cell);
        let mean = figure.as_ref().map(Figure::mean);
        let mut row = vec![cell.path.label()];
        row.extend(sizes.then(|| or_none(segment(cell))));
        row.push(mean.unwrap_or_else(|| state(cell).to_owned()));
        row.push(or_none(figure.as_ref().and_then(Figure::interval)));
        if times {
            let time =
                |of: fn(&Run) -> Option<f64>| or_none(cell.run().and_then(of).map(units::time));
            row.push(time(|run| Some(run.rtt_ns.as_ref()?.p50)));
            row.extend(wide.then(|| time(|run| Some(run.rtt_ns.as_ref()?.p99))));
        }
        if datagrams {
            let udp = cell.run().and_then(|run| run.udp.as_ref());
            row.push(or_none(
                udp.and_then(|udp| udp.lost_share).map(view::lost_share),
            ));
            let jitter = udp.and_then(|udp| udp.jitter_ns);
            row.push(or_none(jitter.map(|jitter| units::time(jitter.mean))));
        }
        row.push(or_none(figure.as_ref().and_then(Figure::overhead)));
        table.row(row);
    }
    let title = style.bold(&format!("{test}: {}", rounds(matrix)));
    let foot = "overhead: of the path against host-to-host, within a node against loopback, by pairs \
                of rounds; 'within' where it was not resolved";
    let told = cells().any(|cell| cell.path.kind.baseline().is_some());
    let mut notes = String::new();
    if sizes {
        let note = "MSS: as asked for; in brackets what the path holds, where that is less";
        notes += &wrapped(note, style.width(), 2);
    }
    if told {
        notes += &wrapped(foot, style.width(), 2);
    }
    format!("{title}\n{}{notes}", table.render(style.width()))
}

/// The segment size that was asked for, and the one that was used where the path holds no larger.
fn segment(cell: &Cell) -> Option<String> {
    let asked = cell.mss_bytes?;
    let used = cell.run().and_then(|run| {
        let tcp = run.tcp.as_ref()?;
        Some(tcp.mss_bytes + tcp.option_bytes?)
    });
    Some(match used {
        Some(used) if used != asked => format!("{asked} ({used})"),
        _ => asked.to_string(),
    })
}

/// `10 rounds of 500 ms each, without the probe`.
fn rounds(matrix: &Matrix) -> String {
    let asked = &matrix.asked;
    let each = asked.seconds * 1e9 / f64::from(asked.pairs.max(1));
    let (pairs, each) = (asked.pairs, units::time(each));
    format!("{pairs} rounds of {each} each, without the probe")
}

/// A preset's table: a row for each of its paths, a column for each of its tests.
fn grid(matrix: &Matrix, preset: Preset, style: Style) -> String {
    let losses = preset == Preset::Flannel;
    let mut columns = vec![("", Align::Left)];
    for column in preset.columns() {
        columns.push((column.name, Align::Right));
        columns.extend(losses.then_some(("loss", Align::Right)));
    }
    let mut table = Table::with_heading(&columns);
    let name = |cell: &Cell| {
        let named = cell.row.clone().or_else(|| cell.path.network.clone());
        named.unwrap_or_else(|| cell.path.label())
    };
    let mut names: Vec<String> = Vec::new();
    for cell in &matrix.cells {
        let name = name(cell);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for row in names {
        let mut cells = vec![row.clone()];
        for &Column { test, .. } in preset.columns() {
            let of_column = |cell: &&Cell| Ok(cell.test) == test && name(cell) == row;
            let cell = matrix.cells.iter().find(of_column);
            let figure = cell.and_then(Figure::of);
            let mean = figure.as_ref().map(|figure| match figure.interval() {
                Some(interval) if !losses => format!("{} {interval}", figure.mean()),
                _ => figure.mean(),
            });
            cells.push(mean.unwrap_or_else(|| cell.map_or(NONE, state).to_owned()));
            let loss = losses.then(|| or_none(figure.as_ref().and_then(Figure::overhead)));
            cells.extend(loss);
        }
        table.row(cells);
    }
    let mut foot: String = preset
        .absent()
        .map(|absent| wrapped(&told(&absent), style.width(), 2))
        .collect();
    if losses {
        let text = "loss: against the host's network in pairs of rounds, with its 95 % interval; \
                    'within' where it was not resolved";
        foot += &wrapped(text, style.width(), 2);
    }
    let title = style.bold(&format!("{preset}: {}", rounds(matrix)));
    format!("{title}\n{}{foot}", table.render(style.width()))
}

/// What has no figure, and why.
fn faults(matrix: &Matrix, style: Style) -> String {
    let missing = matrix.missing.iter().map(told);
    let faults = matrix
        .faults()
        .map(|(cell, why)| format!("{}: {why}", cell.label()));
    let all = missing.chain(faults);
    all.map(|told| alarm(&told, style)).collect()
}

fn told(Missing { what, reason }: &Missing) -> String {
    format!("{what}: {reason}")
}

fn alarm(text: &str, style: Style) -> String {
    let lines = wrapped(text, style.width(), 0);
    lines.lines().map(|line| style.alarm(line) + "\n").collect()
}

#[cfg(test)]
mod tests;
