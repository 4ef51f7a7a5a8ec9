//! What became of the datagrams of `udp_stream`.

use nettoll_core::report::Report;

use super::{
    Section,
    markup::{Table, text},
};
use crate::render::{units, view};

/// A line for each run of datagrams, where there is one.
pub(super) fn section(report: &Report) -> Option<Section> {
    let lines = view::datagrams(report);
    let mut table = Table::new(&[
        "path",
        "num|sent",
        "num|arrived",
        "num|lost",
        "num|no room",
        "num|reordered",
        "num|twice",
        "num|jitter",
    ]);
    for (path, udp) in &lines {
        let none = || "–".to_owned();
        let rate = udp.sent_bits_per_second;
        table.row(&[
            text(path),
            rate.map_or_else(none, |rate| units::bit_rate(rate.mean)),
            units::count(udp.arrived),
            udp.lost_share.map_or_else(none, view::lost_share),
            udp.without_room.map_or_else(none, units::count),
            units::count(udp.reordered),
            units::count(udp.duplicates),
            (udp.jitter_ns).map_or_else(none, |jitter| units::time(jitter.mean)),
        ]);
    }
    let body = format!(
        "<p>Sent by the client, counted by the server. No room: lost in the server's own socket, \
         whose reader was too slow. Reordered: after one that was sent later. \
         Jitter as in RFC 3550.</p>\n{}",
        table.render()
    );
    (!lines.is_empty()).then(|| Section::new("datagrams", "Datagrams", body))
}
