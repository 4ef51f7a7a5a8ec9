//! What on the paths is not as it could be.

use nettoll_core::{
    finding::{Finding, findings},
    report::{Report, Run},
};

use super::{Style, wrapped};

/// The findings on the paths of these runs; empty where there are none.
pub(super) fn section<'a>(
    report: &Report,
    runs: impl IntoIterator<Item = &'a Run>,
    style: Style,
) -> String {
    let mut text = String::new();
    for finding in findings(report, runs) {
        let Finding {
            severity,
            rule,
            place,
            device,
            what,
            remedy,
        } = finding;
        let line = format!("{severity}: {device} in {place}: {what} ({rule})");
        text += &wrapped(&line, style.width(), 0);
        let mend = wrapped(&format!("mend: {remedy}"), style.width(), 2);
        for line in mend.lines() {
            text += &style.faint(line);
            text.push('\n');
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("{}\n{text}", style.bold("Findings"))
}
