//! What became of the datagrams of `udp_stream`.

use nettoll_core::report::Report;

use super::{
    Style,
    table::{Align, Table},
};
use crate::render::{units, view};

/// A line for each run of datagrams; empty without one.
pub(super) fn section(report: &Report, style: Style) -> String {
    let lines = view::datagrams(report);
    if lines.is_empty() {
        return String::new();
    }
    let mut table = Table::with_heading(&[
        ("path", Align::Left),
        ("sent", Align::Right),
        ("arrived", Align::Right),
        ("lost", Align::Right),
        ("no room", Align::Right),
        ("reordered", Align::Right),
        ("twice", Align::Right),
        ("jitter", Align::Right),
    ]);
    for (path, udp) in lines {
        let none = || "–".to_owned();
        let rate = udp.sent_bits_per_second;
        table.row(vec![
            path,
            rate.map_or_else(none, |rate| units::bit_rate(rate.mean)),
            units::count(udp.arrived),
            udp.lost_share.map_or_else(none, view::lost_share),
            udp.without_room.map_or_else(none, units::count),
            units::count(udp.reordered),
            units::count(udp.duplicates),
            udp.jitter_ns
                .map_or_else(none, |jitter| units::time(jitter.mean)),
        ]);
    }
    let title = style.bold("Datagrams of udp_stream, sent by the client and counted by the server");
    format!("{title}\n{}", table.render(style.width()))
}
