//! What became of the datagrams of `udp_stream`.

use nettoll_core::report::{Report, Udp};

/// The paths on which datagrams were sent, in words, and what became of them.
pub(crate) fn datagrams(report: &Report) -> Vec<(String, &Udp)> {
    let runs = report.runs.iter();
    runs.filter_map(|run| Some((run.path.label(), run.udp.as_ref()?)))
        .collect()
}

/// A part that was lost: hundredths of a percent matter.
pub(crate) fn lost_share(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
