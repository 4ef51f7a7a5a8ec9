//! `nettoll report`: what was measured before, once more.

use std::path::PathBuf;

use super::{
    output,
    run::{self, RunId},
};
use crate::{client, failure::Failure, files, render::text};

/// Arguments of `nettoll report`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["file", "run"])))]
pub(crate) struct Args {
    #[command(flatten)]
    client: client::ControllerArgs,
    /// A report.json; stacks that lie beside it are used too
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// A run that the controller still has: its id is in reports and in annotations
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,
    #[command(flatten)]
    output: output::OutputArgs,
}

/// Reads and shows.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let Args {
        client,
        file,
        run,
        output,
    } = args;
    let rendering = match (file, run) {
        (Some(file), _) => files::read(&file)?,
        (None, Some(id)) => run::interruptible(async {
            let client = client.client().await?;
            run::kept(&client, &id).await
        })?,
        // clap asks for either.
        (None, None) => return Ok(()),
    };
    output.prepare()?;
    output.write(&rendering, None, text::report)
}
