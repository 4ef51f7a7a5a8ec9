//! Why a command ended early, and with which exit code.

use std::{error, fmt};

/// Exit code of wrong usage, a missing privilege or a missing prerequisite.
pub(crate) const PREREQUISITE: u8 = 2;
/// Exit code after Ctrl-C, as shells give it.
pub(crate) const INTERRUPTED: u8 = 130;

/// A reason with an exit code of its own; all other errors end with 1.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The machine or the caller lacks something; the text says what and how to get it.
    Prerequisite(String),
    /// Ctrl-C or a signal that asks to end.
    Interrupted,
    /// A program that was run said no.
    Failed {
        /// What it was to do.
        what: String,
        /// What it said, `None` where a signal ended it.
        code: Option<i32>,
    },
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prerequisite(what) => f.write_str(what),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Failed {
                what,
                code: Some(code),
            } => write!(f, "{what} failed with exit code {code}"),
            Self::Failed { what, code: None } => write!(f, "{what} was ended by a signal"),
        }
    }
}

impl error::Error for Stop {}

/// What the machine or the caller lacks, in words, where that is the error.
///
/// # Errors
/// All others, as they are.
pub(crate) fn lacking(error: anyhow::Error) -> anyhow::Result<String> {
    match error.downcast::<Stop>()? {
        stop if exit_code_of(&stop) == PREREQUISITE => Ok(stop.to_string()),
        stop => Err(stop.into()),
    }
}

/// The process's exit code for an error: where a program that was run lacks something, so does
/// this one.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Stop>().map_or(1, exit_code_of)
}

fn exit_code_of(stop: &Stop) -> u8 {
    match stop {
        Stop::Prerequisite(_) => PREREQUISITE,
        Stop::Failed { code, .. } if *code == Some(PREREQUISITE.into()) => PREREQUISITE,
        Stop::Interrupted => INTERRUPTED,
        Stop::Failed { .. } => 1,
    }
}
