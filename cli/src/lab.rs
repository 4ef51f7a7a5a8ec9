//! `nettoll lab`: the cluster in network namespaces.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use clap::{Subcommand, ValueEnum};
use nettoll_lab::{
    Binaries, Class, Error, Lab, Network, Options, Status,
    plan::{POD_NAMESPACE, Plan, Service},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, print};

/// How long a command waits for another one that has the lab.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Arguments of `nettoll lab`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a lab, after taking down the one that is there
    #[command(after_help = "Examples:
  nettoll lab up
  nettoll lab up --network host-gw --nodes 3
  nettoll lab up --no-processes && nettoll lab exec n1-a ip route")]
    Up(Up),
    /// Take the lab down; no lab is fine too
    Down,
    /// Run a command in a node's or a pod's network namespace
    #[command(after_help = "Examples:
  nettoll lab exec n1 ip -s link show flannel.1
  nettoll lab exec pod/lab/n1-a ip route
  sudo nettoll lab exec n2-b bash

Only the network is that place's: the files, /sys included, are those of this machine.")]
    Exec(Exec),
    /// Tell what is up
    #[command(after_help = "Examples:
  nettoll lab status
  nettoll lab status -o json

Exits with 1 where something of the lab has gone.")]
    Status(StatusArgs),
}

#[derive(Debug, clap::Args)]
struct Up {
    /// How pods of different nodes reach each other: vxlan, host-gw or both
    #[arg(long, default_value_t = Network::Both, value_name = "NETWORK")]
    network: Network,
    /// How many nodes, 2 to 9
    #[arg(long, default_value_t = 2, value_name = "N")]
    nodes: u8,
    /// The agent's program [default: nettoll-agent beside this one]
    #[arg(long, value_name = "PATH", conflicts_with = "no_processes")]
    agent: Option<PathBuf>,
    /// The controller's program [default: nettoll-controller beside this one]
    #[arg(long, value_name = "PATH", conflicts_with = "no_processes")]
    controller: Option<PathBuf>,
    /// Only the network, no agents and no controller
    #[arg(long)]
    no_processes: bool,
    /// No services: nodes have no rules and track no connections, and nft is not needed
    #[arg(long)]
    no_services: bool,
}

#[derive(Debug, clap::Args)]
struct Exec {
    /// n1, n1-a, node/n1, pod/lab/n1-a, or cp for the controller's
    place: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Does what the arguments ask for.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Up(up) => build(up),
        Command::Down => nettoll_lab::down(LOCK_WAIT).map_err(failure),
        Command::Exec(exec) => execute(&exec),
        Command::Status(status) => show(status.output),
    }
}

fn build(up: Up) -> Result<(), Failure> {
    let Up {
        network,
        nodes,
        agent,
        controller,
        no_processes,
        no_services,
    } = up;
    let processes = if no_processes {
        None
    } else {
        let named = |path: Option<PathBuf>, name| path.map_or_else(|| beside_this(name), Ok);
        Some(Binaries {
            agent: named(agent, "nettoll-agent")?,
            controller: named(controller, "nettoll-controller")?,
        })
    };
    let options = Options {
        nodes,
        network,
        services: !no_services,
        processes,
        lock_wait: LOCK_WAIT,
        ..Options::default()
    };
    let lab = up_or_interrupted(options)?;
    let status = Status::of(lab.state().clone());
    lab.leave();
    print(table(&status))
}

/// Builds the lab on a thread of its own while this one waits for signals.
fn up_or_interrupted(options: Options) -> Result<Lab, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Run(format!("cannot wait for signals: {error}")))?;
    let stop = Arc::clone(&options.stop);
    let result = runtime.block_on(async {
        let mut building = tokio::task::spawn_blocking(move || Lab::up(&options));
        tokio::select! {
            result = &mut building => result,
            Ok(()) = interrupted() => {
                stop.store(true, Ordering::Relaxed);
                building.await
            }
        }
    });
    result
        .map_err(|error| Failure::Run(format!("building the lab broke off: {error}")))?
        .map_err(failure)
}

/// Ends with the first signal that asks for an end.
async fn interrupted() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

fn beside_this(name: &str) -> Result<PathBuf, Failure> {
    let this = std::env::current_exe()
        .map_err(|error| Failure::Run(format!("cannot tell where this program is: {error}")))?;
    Ok(this.with_file_name(name))
}

/// Becomes the command; comes back only where that fails.
fn execute(exec: &Exec) -> Result<(), Failure> {
    let Exec { place, command } = exec;
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let mut command = nettoll_lab::command_in(place, program).map_err(failure)?;
    let error = command.args(arguments).exec();
    Err(Failure::Prerequisite(format!(
        "cannot run {} in {place}: {error}",
        program.display()
    )))
}

fn show(output: Output) -> Result<(), Failure> {
    let status = nettoll_lab::status().map_err(failure)?;
    match output {
        Output::Json => {
            let text = serde_json::to_string_pretty(&status)
                .map_err(|error| Failure::Run(format!("cannot write the status: {error}")))?;
            print(text + "\n")?;
        }
        Output::Table => match &status {
            Some(status) => print(table(status))?,
            None => print("no lab is up; 'nettoll lab up' builds one\n")?,
        },
    }
    match status {
        Some(status) if !status.is_whole() => {
            let gone = [status.missing_netns, status.ended_processes]
                .concat()
                .join(", ");
            Err(Failure::Run(format!(
                "the lab is not whole: {gone} gone; 'nettoll lab up' builds it anew"
            )))
        }
        _ => Ok(()),
    }
}

/// Places and processes, aligned.
fn table(status: &Status) -> String {
    let state = &status.state;
    let mut text = format!(
        "The lab: {} nodes, pod network {}\n",
        state.nodes, state.network
    );
    let mut rows = vec![["PLACE", "NAMESPACE", "ADDRESSES"].map(str::to_owned)];
    for node in state.plan().iter().flat_map(|plan| &plan.nodes) {
        rows.push([
            format!("node/{}", node.name),
            node.netns(),
            node.address().to_string(),
        ]);
        for pod in &node.pods {
            let addresses: Vec<_> = state
                .network
                .pod_networks()
                .iter()
                .map(|network| format!("{} {}", network.name(), pod.address(*network)))
                .collect();
            rows.push([
                format!("pod/{POD_NAMESPACE}/{}", pod.name),
                pod.netns(),
                addresses.join(", "),
            ]);
        }
    }
    for service in state.plan().iter().flat_map(Plan::services) {
        let own = format!("{}:{}", service.address, Service::PORT);
        let by_nodes = service.node_port.map(|port| format!("node port {port}"));
        rows.push([
            format!("service/{POD_NAMESPACE}/{}", service.name),
            "-".to_owned(),
            [Some(own), by_nodes]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", "),
        ]);
    }
    text.push('\n');
    text.push_str(&align(&rows));
    if state.processes.is_empty() {
        return text;
    }
    let mut rows = vec![["PROCESS", "PID", "LOG"].map(str::to_owned)];
    for process in &state.processes {
        let ended = status.ended_processes.contains(&process.name);
        let pid = if ended {
            "ended".to_owned()
        } else {
            process.identity.pid.to_string()
        };
        rows.push([process.name.clone(), pid, process.log.display().to_string()]);
    }
    text.push('\n');
    text.push_str(&align(&rows));
    text
}

fn align(rows: &[[String; 3]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    rows.iter()
        .map(|[a, b, c]| format!("{a:first$}  {b:second$}  {c}\n"))
        .collect()
}

fn failure(error: Error) -> Failure {
    match error.class() {
        Class::Interrupted => Failure::Interrupted,
        Class::Prerequisite => Failure::Prerequisite(error.to_string()),
        Class::Failed => Failure::Run(error.to_string()),
    }
}
