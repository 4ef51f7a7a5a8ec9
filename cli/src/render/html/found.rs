//! What on the paths is not as it could be.

use nettoll_core::{
    finding::{Finding, findings},
    report::Report,
};

use super::{
    Section,
    markup::{Table, text},
};

/// The findings on the paths of all runs, where there are any.
pub(super) fn section(report: &Report) -> Option<Section> {
    let found = findings(report, &report.runs);
    let mut table = Table::new(&["severity", "device", "what", "what to do"]);
    for finding in &found {
        let Finding {
            severity,
            rule,
            place,
            device,
            what,
            remedy,
        } = finding;
        table.row(&[
            severity.to_string(),
            format!("{} in {}", text(device), text(place)),
            format!("{} (<code>{rule}</code>)", text(what)),
            text(remedy),
        ]);
    }
    let intro = "<p>By the settings of the devices that packets passed; the rules are in \
                 <code>docs/findings.md</code>.</p>\n";
    (!found.is_empty())
        .then(|| Section::new("findings", "Findings", intro.to_owned() + &table.render()))
}
