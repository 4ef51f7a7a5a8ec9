//! `cargo xtask doctor`: builds the agent and lets it look at this machine.

use std::process::Command;

use anyhow::Result;

use crate::{
    build, exec,
    places::Places,
    setup::{self, Purpose},
};

/// `cargo xtask doctor`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Arguments of `nettoll-agent doctor`, for one `-o json`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: Args, places: &Places) -> Result<()> {
    let Args { arguments } = args;
    let ready = setup::ensure(Purpose::Build, false, places)?;
    let binaries = build::build(build::Options::RELEASE, &ready, places)?;
    let mut doctor = Command::new(binaries.join("nettoll-agent"));
    exec::run_ok(doctor.arg("doctor").args(arguments), "nettoll-agent doctor")
}
