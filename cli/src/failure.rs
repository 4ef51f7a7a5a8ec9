//! Why a command did not do what was asked, and the exit code that tells it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Why a command did not do what was asked. The exit codes are promised to users; 2 is also
/// clap's own for arguments that it refuses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A run failed or is invalid: 1.
    #[error("{0}")]
    Run(String),
    /// `compare` found a regression: 3.
    #[error("{0}")]
    Regressed(String),
    /// Wrong usage, a missing privilege or prerequisite: 2.
    #[error("{0}")]
    Prerequisite(String),
    /// The user stopped it: 130.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// Tells the user on standard error.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("nettoll: {self}");
        ExitCode::from(match self {
            Self::Run(_) => 1,
            Self::Prerequisite(_) => 2,
            Self::Regressed(_) => 3,
            Self::Interrupted => 130,
        })
    }
}

/// Prints to standard output. A reader that has gone away (`nettoll … | head`) is no failure.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Run(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}
