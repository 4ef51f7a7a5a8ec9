//! What became better or worse, a table for each path and test.

use nettoll_core::change::{Change, Changes, Verdict};

use super::{
    Style,
    table::{Align, Table},
    wrapped,
};
use crate::render::{units, view};

/// All changes, what is missing, and a line that says how many are what.
pub(crate) fn changes(found: &Changes, tolerance: f64, style: Style) -> String {
    let mut text = String::new();
    let mut rest = &found.changes[..];
    while let Some(first) = rest.first() {
        let title = title(first);
        let of_group = rest
            .iter()
            .take_while(|change| self::title(change) == title);
        let (group, others) = rest.split_at(of_group.count());
        text += &format!(
            "{}\n{}\n",
            style.bold(&title),
            table(group).render(style.width())
        );
        rest = others;
    }
    for missing in &found.missing {
        for line in wrapped(&format!("missing: {missing}"), style.width(), 0).lines() {
            text += &style.alarm(line);
            text.push('\n');
        }
    }
    text + &wrapped(&summary(found, tolerance), style.width(), 0)
}

fn title(change: &Change) -> String {
    let path = change.path.label();
    let title = match &change.baseline {
        Some(baseline) => format!("Toll: {path} against {}, {}", baseline.label(), change.test),
        None => format!("{path}, {}", change.test),
    };
    match &change.new_path {
        Some(new) => format!("{title}\n  new from {} to {}", new.from, new.to),
        None => title,
    }
}

fn table(changes: &[Change]) -> Table {
    let mut table = Table::with_heading(&[
        ("metric", Align::Left),
        ("old", Align::Right),
        ("new", Align::Right),
        ("worse by", Align::Right),
        ("95 % interval", Align::Right),
        ("", Align::Left),
    ]);
    for change in changes {
        let figure = |value| match change.baseline {
            Some(_) => units::percent(change.metric.overhead_percent(value)),
            None => view::figure(change.metric, value),
        };
        table.row(vec![
            change.metric.as_str().to_owned(),
            figure(change.old),
            figure(change.new),
            units::percent(change.worse_percent),
            units::percent_interval(change.worse_percent_ci95),
            change.verdict.as_str().to_owned(),
        ]);
    }
    table
}

fn summary(found: &Changes, tolerance: f64) -> String {
    let count = |verdict| found.count(verdict);
    let mut text = format!(
        "{} regressed, {} improved, {} same within {} %, {} unclear, {} missing",
        count(Verdict::Regressed),
        count(Verdict::Improved),
        count(Verdict::Same),
        tolerance,
        count(Verdict::Unclear),
        found.missing.len()
    );
    if count(Verdict::Unclear) > 0 {
        text += "; unclear ones need longer runs or more pairs (--seconds, --pairs), or a larger \
                 tolerance";
    }
    text
}
