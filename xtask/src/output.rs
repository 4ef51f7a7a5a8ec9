//! How a command shows what it found.

use clap::ValueEnum;

/// Of the benches and the doctor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}
