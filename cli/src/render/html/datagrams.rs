//! What became of the datagrams of `udp_stream`.

use nettoll_core::report::Report;

use super::{
    Section,
    markup::{Table, text},
};
use crate::render::view;

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
    for line in &lines {
        table.row(&line.each_ref().map(|cell| text(cell)));
    }
    let body = format!(
        "<p>Sent by the client, counted by the server. No room: lost in the server's own socket, \
         whose reader was too slow. Reordered: after one that was sent later. \
         Jitter as in RFC 3550.</p>\n{}",
        table.render()
    );
    (!lines.is_empty()).then(|| Section::new("datagrams", "Datagrams", body))
}
