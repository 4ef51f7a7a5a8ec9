//! The agent of nettoll: one process on each node.
//!
//! It owns the sockets of a run's traffic ([`runs`]), follows the traffic's packets through the
//! kernel ([`probe`]) and samples what the CPUs do meanwhile ([`profile`]). It decides nothing:
//! a controller connects, asks for one run after the other, and puts both sides together. Beside
//! runs it keeps up the little traffic of a plan ([`light`]).
//!
//! The binary `nettoll-agent` is its one user, and the example `page`, for the bench.
//!
//! Read [`serve`] first: it is the agent's life from the configuration to the last signal.

mod api;
mod config;
mod context;
mod doctor;
mod http;
mod light;
mod metrics;
mod netns;
mod path;
mod privilege;
mod probe;
mod profile;
mod runs;
mod serve;
mod sleep;
mod tls;
mod traffic;

use std::{
    io::{IsTerminal, stderr},
    path::PathBuf,
    process::ExitCode,
};

pub use self::metrics::fullest;
use self::{config::Identity, doctor::Output, probe::Settings};
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "\
Examples:
  nettoll-agent run --config /etc/nettoll/agent.toml
  RUST_LOG=nettoll_agent=debug nettoll-agent run --config agent.toml
  nettoll-agent doctor -o json

Exit codes: 0 done; 1 failed; 2 wrong usage, missing privilege or prerequisite; 130 interrupted.";

/// What is logged without RUST_LOG. The netlink crate warns of each attribute that a kernel has
/// made longer since.
const LOG: &str = "info,netlink_packet_route=error";

/// Measures what the network charges on the way, on the node it runs on.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a controller until SIGTERM or Ctrl-C.
    Run {
        /// The configuration, TOML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        identity: Identity,
        #[command(flatten)]
        probe: Settings,
    },
    /// Do nothing until SIGTERM or Ctrl-C: what the endpoint pods of a cluster run.
    Sleep,
    /// Say what the agent needs, whether it is here, and what to do where not.
    Doctor {
        /// How to write it.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        probe: Settings,
    },
}

/// Does what the arguments say, and tells how that ended.
pub fn main() -> ExitCode {
    let Args { command } = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .init();
    match command {
        Command::Run {
            config,
            identity,
            probe,
        } => serve::run(&config, identity, probe),
        Command::Sleep => sleep::run(),
        Command::Doctor { output, probe } => doctor::run(output, &probe),
    }
}
