//! What became of the datagrams of `udp_stream`.

use nettoll_core::report::{Report, Udp};

use crate::render::units;

/// A line for each run of datagrams: its path, and what was sent, arrived, was lost, found no room, came
/// out of order, came twice, and its jitter.
pub(crate) fn datagrams(report: &Report) -> Vec<[String; 8]> {
    let line = |path: String, udp: &Udp| {
        let none = || "–".to_owned();
        let sent = udp.sent_bits_per_second;
        [
            path,
            sent.map_or_else(none, |rate| units::bit_rate(rate.mean)),
            units::count(udp.arrived),
            udp.lost_share.map_or_else(none, lost_share),
            udp.without_room.map_or_else(none, units::count),
            units::count(udp.reordered),
            units::count(udp.duplicates),
            (udp.jitter_ns).map_or_else(none, |jitter| units::time(jitter.mean)),
        ]
    };
    let runs = report.runs.iter();
    runs.filter_map(|run| Some(line(run.path.label(), run.udp.as_ref()?)))
        .collect()
}

/// A part that was lost: hundredths of a percent matter.
pub(crate) fn lost_share(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
