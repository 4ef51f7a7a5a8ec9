//! `nettoll`: what a user types.
//!
//! The work is done elsewhere: by the controller and its agents, and for the lab by the crate
//! `nettoll-lab`. Here arguments become requests, and answers become text. A command that
//! fails says so in one line or a few on standard error; its exit code is that of its
//! [`Failure`](failure::Failure).

mod failure;
mod lab;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Lab(args) => lab::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
