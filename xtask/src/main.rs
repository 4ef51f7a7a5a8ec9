//! Development commands of nettoll: tools, builds, the lab and the tests, from a bare checkout.
//!
//! Nothing here measures or knows the product: each command finds what it needs, builds the real
//! binaries and runs them. What a command lacks is said before anything is changed.
//!
//! Exit codes: 0 done; 1 a build, a run or a test failed; 2 wrong usage, missing privilege or
//! missing prerequisite; 130 interrupted. The exit codes of `nettoll` are passed on.

mod bench;
mod build;
mod doctor;
mod exec;
mod image;
mod lab;
mod manifests;
mod output;
mod places;
mod privilege;
mod setup;
mod signals;
mod stop;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::places::Places;

/// Development commands of nettoll.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Find or install what the build and the lab need
    Setup(setup::Args),
    /// Build the eBPF objects and the binaries that embed them
    Build(build::Args),
    /// Write the container image as an archive, without a container engine
    Image(image::Args),
    /// Make the Helm chart and the operator's alerts anew (needs kubectl)
    Manifests(manifests::Args),
    /// Measure the toll of an overlay in a two-node lab on this machine (needs root)
    Lab(lab::Args),
    /// Compare: with the probe and without it, and our traffic with other tools' (needs root)
    #[command(subcommand)]
    Bench(bench::Command),
    /// Run all tests that this machine can run
    Test(test::Args),
    /// Boot other kernels under QEMU and run nettoll and its tests inside
    Vm(vm::Args),
    /// Say what this machine can measure and what it lacks
    Doctor(doctor::Args),
}

fn main() -> ExitCode {
    let Args { command } = Args::parse();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(stop::exit_code(&error))
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    signals::install()?;
    let places = Places::find()?;
    match command {
        Command::Setup(args) => setup::run(args, &places),
        Command::Build(args) => build::run(args, &places),
        Command::Image(args) => image::run(args, &places),
        Command::Manifests(args) => manifests::run(args, &places),
        Command::Lab(args) => lab::run(args, &places),
        Command::Bench(command) => bench::run(command, &places),
        Command::Test(args) => test::run(args, &places),
        Command::Vm(args) => vm::run(args, &places),
        Command::Doctor(args) => doctor::run(args, &places),
    }
}
