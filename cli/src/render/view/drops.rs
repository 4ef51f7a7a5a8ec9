//! What the kernel dropped.

use nettoll_core::report::{Drops, Report, Run};

/// Whether and what was dropped of a run's packets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Dropped<'a> {
    /// The probe saw the run's packets, but nobody looked for drops.
    Unknown,
    /// Something.
    Rows(&'a [Drops]),
}

/// The runs of which there is something to say.
pub(crate) fn dropped(report: &Report) -> Vec<(&Run, Dropped<'_>)> {
    let of_run = |run: &Run| run.drops.as_deref().is_none_or(|rows| !rows.is_empty());
    let seen = report
        .runs
        .iter()
        .filter(|run| run.stages.is_some() || run.drops.is_some());
    seen.filter(|run| of_run(run))
        .map(|run| {
            (
                run,
                run.drops.as_deref().map_or(Dropped::Unknown, Dropped::Rows),
            )
        })
        .collect()
}

/// The reason in the kernel's words.
pub(crate) fn drop_reason(row: &Drops) -> &str {
    row.reason.as_deref().unwrap_or("not told")
}
