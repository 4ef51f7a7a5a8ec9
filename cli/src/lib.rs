//! `nettoll` and `kubectl nettoll`: what a user types. Both programs are this, under two names.
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

use std::{env, ffi::OsStr, path::Path, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use command::{compare, doctor, flame, matrix, path, report, test, toll};

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
    /// Run many tests on many kinds of paths, and show them as one table
    Matrix(Box<matrix::Args>),
    /// Show what lies between two endpoints, and how long each part of it takes
    Path(path::Args),
    /// Draw where the CPU is while a path is under load
    Flame(Box<flame::Args>),
    /// Show a saved report, or a run that the controller still has
    Report(report::Args),
    /// Say what became better or worse between two saved reports, for people and for CI
    Compare(compare::Args),
    /// Say what this machine lets nettoll measure, and what is missing
    Doctor(doctor::Args),
}

/// Does what this process's arguments ask for.
#[must_use]
pub fn main() -> ExitCode {
    let mut command = Args::command();
    if plugin() {
        command = command.bin_name("kubectl nettoll");
    }
    let args = Args::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    let result = match args.command {
        Command::Lab(args) => lab::run(args),
        Command::Toll(args) => toll::run(args),
        Command::Test(args) => test::run(*args),
        Command::Matrix(args) => matrix::run(*args),
        Command::Path(args) => path::run(args),
        Command::Flame(args) => flame::run(*args),
        Command::Report(args) => report::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Doctor(args) => doctor::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Whether `kubectl` started this as its plugin.
fn plugin() -> bool {
    let name = env::args_os().next();
    let name = name.as_deref().map(Path::new).and_then(Path::file_stem);
    name == Some(OsStr::new("kubectl-nettoll"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_make_sense() {
        Args::command().debug_assert();
    }
}
