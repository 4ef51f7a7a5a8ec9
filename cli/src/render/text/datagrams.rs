//! What became of the datagrams of `udp_stream`.

use nettoll_core::report::Report;

use super::{
    Style,
    table::{Align, Table},
};
use crate::render::view;

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
    for line in lines {
        table.row(line.into());
    }
    let title = style.bold("Datagrams of udp_stream, sent by the client and counted by the server");
    format!("{title}\n{}", table.render(style.width()))
}
