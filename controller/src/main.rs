//! The controller of nettoll: it knows the nodes and endpoints from an inventory, plans which
//! rounds run in which order, has the agents run them, and joins what both sides measured.
//!
//! It makes no traffic, loads no eBPF and computes no statistics of its own: those live in the
//! agent and in `nettoll-core`. In the order of the data's way:
//!
//! 1. [`config`], [`inventory`] and [`directory`]: what to connect to, and which endpoints there
//!    are.
//! 2. [`api`]: jobs in, events and the report out; never two jobs on one node.
//! 3. [`jobs`]: plan → dispatch → results.
//! 4. [`agents`]: the requests to the agents, over mutual TLS.
//! 5. [`metrics`]: what finished jobs and rounds leave for Prometheus.
//! 6. [`kubernetes`]: the same with what a cluster says: who leads, certificates, what there is,
//!    and what annotations ask for; and [`mesh`]: rounds that go on by themselves.
//!
//! It fails with 2 where its configuration is wrong, with 1 where it cannot go on; a job that
//! fails is told to the one who asked for it and ends nothing else.

mod agents;
mod api;
mod config;
mod directory;
mod inventory;
mod jobs;
mod kubernetes;
mod mesh;
mod metrics;
mod run;
mod simulate;

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

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
    /// Print what a cluster of this size would take, for `cargo xtask bench controller`
    #[command(hide = true)]
    Simulate(simulate::Args),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// The configuration (TOML); may be left out with --kubernetes
    #[arg(long, value_name = "FILE", required_unless_present = "kubernetes")]
    config: Option<PathBuf>,
    /// Take nodes, pods and certificates from the cluster, and answer annotations
    #[arg(long)]
    kubernetes: bool,
    /// The namespace of nettoll itself
    #[arg(
        long,
        env = "NETTOLL_NAMESPACE",
        value_name = "NAME",
        default_value = "nettoll"
    )]
    namespace: String,
    /// This instance's name among the controllers [default: the host's name and the process]
    #[arg(long, env = "NETTOLL_POD", value_name = "NAME")]
    pod: Option<String>,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .init();
    match Arguments::parse().command {
        Command::Run(arguments) => match run::run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error}");
                error.exit_code()
            }
        },
        Command::Simulate(arguments) => match simulate::run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("cannot write the figures: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
