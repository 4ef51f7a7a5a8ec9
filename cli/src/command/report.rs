//! `nettoll report`: a saved report once more.

use std::path::PathBuf;

use super::output;
use crate::{failure::Failure, files};

/// Arguments of `nettoll report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A report.json; stacks that lie beside it are used too
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    output: output::OutputArgs,
}

/// Reads and shows.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let Args { file, output } = args;
    let rendering = files::read(&file)?;
    output.prepare()?;
    output.write(&rendering, None)
}
