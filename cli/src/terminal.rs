//! What the terminal can show.

use std::{
    env,
    io::{self, IsTerminal},
};

/// Columns of text that is not written to a terminal: it fits into any ticket.
const PLAIN_COLUMNS: usize = 80;

/// The terminal's columns; `COLUMNS` comes first.
pub(crate) fn columns() -> usize {
    let asked = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    asked
        .or_else(|| terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)))
        .unwrap_or(PLAIN_COLUMNS)
}

/// Whether standard output takes colours: a terminal that is not dumb, and no `NO_COLOR`.
pub(crate) fn colour() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal()
        && !set("NO_COLOR")
        && env::var_os("TERM").is_none_or(|term| term != "dumb")
}
