//! `cargo xtask bench cluster`: what agents and controllers take of the kit's nodes, with the
//! default mesh and without any traffic.
//!
//! All nodes of the kit are one machine, so this process sees every agent in /proc. The kernel
//! counts the processor time: of the processes with all their threads, those that ended included.
//! The probe's programs run on whoever's time and are not in it.

mod watched;

use std::{
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nettoll_core::whole;
use serde_json::json;

use self::watched::{Process, processes};
use super::figure::{Figure, render};
use crate::{
    exec,
    output::Output,
    places::Places,
    privilege::Privilege,
    stop::Stop,
    test::cluster::{self, Cluster},
};

/// Of this bench.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How to show the figures
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Measured seconds, once with the mesh and once without
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = whole(10..=3_600))]
    seconds: u32,
    /// Install what is missing without asking
    #[arg(long)]
    yes: bool,
}

/// What pods do after their start is not measured: a few rounds, and the first certificates.
const SETTLED: Duration = Duration::from_secs(60);
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_secs(5);
/// So often it is measured anew where a stream of the mesh ran meanwhile. Each pair has one a day, at a
/// time that its nodes' names decide: two nodes have two.
const AGAIN: u32 = 3;
/// For pods to be there and ready.
const READY: &str = "--timeout=180s";

/// What an agent does meanwhile, and its bounds: % of a core, MiB.
const STATES: [(&str, &str, [f64; 2]); 2] = [
    ("default mesh", "", [0.5, 32.0]),
    ("no mesh", "[mesh]\nenabled = false\n", [0.1, 24.0]),
];

pub(super) fn run(args: &Args, places: &Places) -> Result<()> {
    Privilege::read()?.for_lab("cargo xtask bench cluster")?;
    let kit = cluster::kit().ok_or_else(|| Stop::Prerequisite(cluster::NO_KIT.to_owned()))?;
    let cluster = Cluster::up(&kit, args.yes, places)?;
    let kubectl = Kubectl(&kit);
    let seconds = Duration::from_secs(args.seconds.into());
    let mut figures = Vec::new();
    for (state, settings, most) in STATES {
        kubectl.configure(settings)?;
        eprintln!("bench: {state}, for {} s", (SETTLED + seconds).as_secs());
        sleep(SETTLED);
        figures.extend(undisturbed(&kubectl, || measure(state, seconds, most))?);
    }
    drop(cluster);
    match args.output {
        Output::Table => print!("{}", render(&figures)),
        Output::Json => {
            let figures: Vec<_> = figures.iter().map(Figure::to_json).collect();
            let all = json!({ "figures": figures, "seconds": args.seconds });
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
    }
    if let Some(missed) = figures.iter().find(|figure| !figure.met()) {
        bail!("a bound is missed: {}", missed.name);
    }
    Ok(())
}

/// What was measured while no agent had a run. A stream takes some seconds of a core, once a day: what
/// it adds to so short a time is shown and is none of the figures.
fn undisturbed(
    kubectl: &Kubectl<'_>,
    measure: impl Fn() -> Result<Vec<Figure>>,
) -> Result<Vec<Figure>> {
    for _ in 0..AGAIN {
        let before = kubectl.runs()?;
        let figures = measure()?;
        let runs = kubectl.runs()? - before;
        if runs == 0.0 {
            return Ok(figures);
        }
        eprintln!(
            "bench: agents had {runs} runs meanwhile, a stream of the day; again, without one"
        );
        eprint!("{}", render(&figures));
    }
    bail!("agents had runs each of {AGAIN} times: who tests on this cluster?")
}

/// Of each process the mean processor time and the most memory.
fn measure(state: &str, seconds: Duration, most: [f64; 2]) -> Result<Vec<Figure>> {
    let before = processes()?;
    if before.is_empty() {
        bail!("no process of nettoll is there; see the cluster's pods");
    }
    let begin = Instant::now();
    let mut memory = vec![0.0_f64; before.len()];
    while begin.elapsed() < seconds {
        sleep(LOOK.min(seconds.saturating_sub(begin.elapsed())));
        for (most, process) in memory.iter_mut().zip(&before) {
            *most = most.max(process.memory_mib()?);
        }
    }
    let mut figures = Vec::new();
    for (process, memory) in before.iter().zip(memory) {
        let Process { program, pid, .. } = process;
        let taken = process.cpu_seconds_since()?;
        let percent = 100.0 * taken / begin.elapsed().as_secs_f64();
        let bounds = (program == "nettoll-agent").then_some(most);
        let figure = |what: &str, value, most| Figure {
            name: format!("{program} {pid}, {state}: {what}"),
            value,
            most,
        };
        let [cpu, mib] = [
            bounds.map(|bounds| bounds[0]),
            bounds.map(|bounds| bounds[1]),
        ];
        figures.push(figure("% of a core", percent, cpu));
        figures.push(figure("MiB resident, most", memory, mib));
    }
    Ok(figures)
}

/// kubectl of the kit's cluster.
struct Kubectl<'a>(&'a Path);

impl Kubectl<'_> {
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.0);
        command.args(["kubectl", "-n", "nettoll"]).args(arguments);
        exec::ask(&mut command).with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// Runs of all agents so far, by their own metrics.
    fn runs(&self) -> Result<f64> {
        let agents = "app.kubernetes.io/component=agent";
        let names = self.run(&["get", "pods", "-l", agents, "-o", "name"])?;
        let of = |name: &str| {
            let pod = name.trim_start_matches("pod/");
            let page = format!("/api/v1/namespaces/nettoll/pods/{pod}:9471/proxy/metrics");
            let page = self.run(&["get", "--raw", &page])?;
            let value = |line: &str| line.strip_prefix("nettoll_agent_runs_total ")?.parse().ok();
            let runs: Option<f64> = page.lines().find_map(value);
            runs.with_context(|| format!("{pod} does not tell its runs"))
        };
        names.lines().map(of).sum()
    }

    /// Adds settings to the controllers' configuration and has all pods begin anew: the agents
    /// last, for one that a leader of before brought a plan would go on with it for ten minutes.
    fn configure(&self, settings: &str) -> Result<()> {
        let key = "controller.toml";
        let show = format!("go-template={{{{index .data \"{key}\"}}}}");
        let config = self.run(&["get", "configmap", "nettoll-controller", "-o", &show])?;
        let patch = json!({ "data": { key: format!("{config}\n{settings}") } }).to_string();
        self.run(&["patch", "configmap", "nettoll-controller", "-p", &patch])?;
        for object in ["deployment/nettoll-controller", "daemonset/nettoll-agent"] {
            self.run(&["rollout", "restart", object])?;
            self.run(&["rollout", "status", object, READY])?;
        }
        Ok(())
    }
}
