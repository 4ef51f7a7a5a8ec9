//! The binary of the controller: arguments and log; all else is in the library.

use std::{io::IsTerminal as _, process::ExitCode};

use clap::{Parser, Subcommand};
use nettoll_controller::{Run, run};

/// The controller of nettoll.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API until SIGTERM or SIGINT
    Run(Run),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .init();
    let Command::Run(arguments) = Arguments::parse().command;
    run(arguments)
}
