//! `cargo xtask doctor`: builds the agent and lets it look at this machine.

use std::process::Command;

use anyhow::Result;

use crate::{
    build, exec,
    output::Output,
    places::Places,
    setup::{self, Purpose},
};

/// `cargo xtask doctor`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How to say it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(crate) fn run(args: Args, places: &Places) -> Result<()> {
    let output = match args.output {
        Output::Table => "table",
        Output::Json => "json",
    };
    let ready = setup::ensure(Purpose::Build, false, places)?;
    let binaries = build::build(build::Options::RELEASE, &ready, places)?;
    let mut doctor = Command::new(binaries.join("nettoll-agent"));
    exec::run_ok(
        doctor.args(["doctor", "--output", output]),
        "nettoll-agent doctor",
    )
}
