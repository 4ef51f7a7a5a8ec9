//! `nettoll`: what a user types.
//!
//! The work is done elsewhere: by the controller and its agents, and for the lab by the crate
//! `nettoll-lab`. Here arguments become requests, and answers become text. A command that
//! fails says so in one line or a few on standard error; its exit code is that of its
//! [`Failure`](failure::Failure).

mod client;
mod command;
mod failure;
mod files;
mod lab;
mod lines;
mod progress;
mod render;
#[cfg(test)]
mod sample;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use command::{doctor, report, test, toll};

/// Shows what the network charges on the way, where, and in which currency.
#[derive(Debug, Parser)]
#[command(name = "nettoll", version, propagate_version = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build, use and take down a cluster in network namespaces
    Lab(lab::Args),
    /// Measure what the pod networks cost beyond the bare node network
    Toll(toll::Args),
    /// Run one test on one path, beside its baseline
    Test(Box<test::Args>),
    /// Show a saved report
    Report(report::Args),
    /// Say what this machine lets nettoll measure, and what is missing
    Doctor(doctor::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Lab(args) => lab::run(args),
        Command::Toll(args) => toll::run(args),
        Command::Test(args) => test::run(*args),
        Command::Report(args) => report::run(args),
        Command::Doctor(args) => doctor::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_make_sense() {
        super::Args::command().debug_assert();
    }
}
