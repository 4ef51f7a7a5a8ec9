//! What the kernel dropped, and what TCP sent again.

use nettoll_core::report::{Drops, Report, Run};

use crate::render::units;

/// What of a run's packets did not arrive at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Losses<'a> {
    run: &'a Run,
    /// What was dropped; empty where nothing was, or where nobody looked.
    pub(crate) drops: &'a [Drops],
}

/// The runs of which there is something to say: packets were dropped, segments were sent again, or
/// the probe saw the run's packets, but nobody looked for drops.
pub(crate) fn losses(report: &Report) -> Vec<Losses<'_>> {
    let losses = report.runs.iter().map(|run| Losses {
        run,
        drops: run.drops.as_deref().unwrap_or_default(),
    });
    losses
        .filter(|it| !it.drops.is_empty() || it.sent_again() > 0 || it.unknown())
        .collect()
}

impl Losses<'_> {
    fn sent_again(&self) -> u64 {
        self.run.tcp.as_ref().map_or(0, |tcp| tcp.retransmits)
    }

    fn unknown(&self) -> bool {
        self.run.drops.is_none() && self.run.stages.is_some()
    }

    /// The run, and what is no row of a table.
    pub(crate) fn title(&self) -> String {
        let mut words = Vec::new();
        if self.unknown() {
            words.push("drops not known, nobody looked".to_owned());
        }
        if self.sent_again() > 0 {
            let segments = units::count(self.sent_again());
            words.push(format!("{segments} segments sent again"));
        }
        let run = format!("{} {}", self.run.path.label(), self.run.test);
        if words.is_empty() {
            return run;
        }
        format!("{run}: {}", words.join(", "))
    }
}

/// The reason in the kernel's words.
pub(crate) fn drop_reason(row: &Drops) -> &str {
    row.reason.as_deref().unwrap_or("not told")
}
