//! `nettoll doctor`: what this machine lets the agent do. The agent knows; it is asked.

use std::{env, os::unix::process::CommandExt as _, process::Command};

use super::output::Simple;
use crate::failure::Failure;

/// Arguments of `nettoll doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How to write: table or json
    #[arg(
        short,
        long,
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    output: Simple,
}

/// Becomes `nettoll-agent doctor`: returns only where that could not be started.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let Args { output } = args;
    let own = env::current_exe()
        .map_err(|error| Failure::Prerequisite(format!("cannot find this program: {error}")))?;
    let agent = own.with_file_name("nettoll-agent");
    let mut command = Command::new(&agent);
    command.arg("doctor");
    if matches!(output, Simple::Json) {
        command.args(["-o", "json"]);
    }
    let error = command.exec();
    Err(Failure::Prerequisite(format!(
        "cannot start {} ({error}): keep nettoll-agent in the same directory as nettoll",
        agent.display()
    )))
}
