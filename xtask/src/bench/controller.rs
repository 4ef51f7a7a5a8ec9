//! `cargo xtask bench controller`: what clusters of some sizes take of the controller.
//!
//! An example of the controller's simulates them: state machine, planner and encoder are the real
//! ones, the rounds are made up. An example of the agent's makes the fullest page of its metrics,
//! for both pages have one bound. Both are linked as the binaries are that run in a cluster: with
//! another C library memory costs something else. No lab, no root.
//!
//! What is bounded is the processor's time: other processes of the machine are in that by the
//! clock, which stands beside it. Of many short things the 99.9th percentile is bounded by both.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    comparison::{Comparison, Goal, Met},
    figure::{Figure, render},
    table,
};
use crate::{build::linkage::Linkage, exec, output::Output, places::Places};

/// Of this bench.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How to show the figures
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Nodes and neighbours of the simulated clusters. The large one has the bounds of the issue, the
/// small one says how they grow, the usual one is what its series are bounded for, and the least
/// one has the 1,000 series that a scrape is bounded for.
const CLUSTERS: [(u32, u32); 4] = [(500, 16), (5_000, 16), (1_000, 5), (20, 2)];

pub(super) fn run(args: &Args, places: &Places) -> Result<()> {
    let linkage = Linkage::find()?;
    let target = linkage.target();
    let mut cargo = places.cargo("build");
    linkage.configure(&mut cargo);
    // What was built with the probe is not built again without.
    if places.bpf_objects().is_dir() {
        cargo.env("NETTOLL_EBPF_DIR", places.bpf_objects());
    }
    cargo.args(["--target", &target]);
    cargo.args([
        "--release",
        "--locked",
        "--example",
        "simulate",
        "--example",
        "page",
    ]);
    cargo.args([
        "--package",
        "nettoll-controller",
        "--package",
        "nettoll-agent",
    ]);
    exec::run_ok(&mut cargo, "the build")?;
    let folder = places.target.join(target).join("release/examples");
    let example = |name: &str, args: &[&str]| -> Result<Value> {
        let binary = folder.join(name);
        let text = exec::ask(Command::new(binary).args(args))?;
        serde_json::from_str(&text).with_context(|| format!("the example {name} prints no JSON"))
    };
    let mut simulated = Vec::new();
    for (nodes, neighbours) in CLUSTERS {
        let (nodes, neighbours) = (nodes.to_string(), neighbours.to_string());
        let args = ["--nodes", &nodes, "--neighbours", &neighbours];
        simulated.push(example("simulate", &args)?);
    }
    let growth = growth(&example("simulate", &GROWTH)?)?;
    let page = example("page", &[])?;
    let [small, large, usual, least] = simulated.as_slice() else {
        bail!("not all clusters were simulated");
    };
    let mut figures = figures([small, large, usual, least])?;
    for (key, what, most) in [
        ("series", "series", None),
        ("scrape_ms", "a scrape, ms", Some(2.0)),
    ] {
        figures.push(Figure {
            name: format!("{what}, fullest page of an agent"),
            value: of(&page, key)?,
            most,
        });
    }
    match args.output {
        Output::Table => {
            print!(
                "{}\n{}",
                render(&figures),
                table::render(std::slice::from_ref(&growth), &[])
            );
        }
        Output::Json => {
            let figures: Vec<_> = figures.iter().map(Figure::to_json).collect();
            let all = json!({ "figures": figures, "comparisons": [growth.to_json()],
                              "simulated": simulated, "page": page });
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
    }
    let missed: Vec<_> = figures.iter().filter(|figure| !figure.met()).collect();
    if let Some(figure) = missed.first() {
        bail!(
            "{} of the bounds are missed, the first: {}",
            missed.len(),
            figure.name
        );
    }
    ensure!(
        growth.met() != Some(Met::No),
        "planning grows more than the nodes do"
    );
    Ok(())
}

/// Planning a large cluster beside as many small ones as have its nodes.
const GROWTH: [&str; 6] = ["--nodes", "5000", "--neighbours", "16", "--beside", "500"];

/// Linear is a ratio of 1. A planner that is exactly so has half its figures above: this is as much as the
/// measure leaves in doubt.
const LINEAR: f64 = 1.03;

fn growth(told: &Value) -> Result<Comparison> {
    let pairs: Vec<[f64; 2]> = serde_json::from_value(told["pairs_cpu_ms"].clone())?;
    let [large, small]: [f64; 2] = serde_json::from_value(told["edges"].clone())?;
    // Small clusters have more pairs between zones, which each has a few of.
    ensure!(
        (0.98..=1.0).contains(&(large / small)),
        "the sides plan {large} and {small} edges"
    );
    let name = format!(
        "planning {} nodes over {} clusters of 500",
        told["nodes"], told["clusters"]
    );
    Ok(Comparison::of_pairs(
        name,
        "ms",
        &pairs,
        Some(Goal::AtMost(LINEAR)),
    )?)
}

/// The figure at a path of keys.
fn of(figures: &Value, key: &str) -> Result<f64> {
    let value = figures.pointer(&format!("/{key}")).and_then(Value::as_f64);
    value.with_context(|| format!("an example tells no {key}"))
}

fn figures([small, large, usual, least]: [&Value; 4]) -> Result<Vec<Figure>> {
    let named = |cluster: &Value, key: &str, what: &str, most: Option<f64>| {
        let (nodes, neighbours) = (&cluster["nodes"], &cluster["neighbours"]);
        Ok::<_, anyhow::Error>(Figure {
            name: format!("{what}, {nodes} nodes, k = {neighbours}"),
            value: of(cluster, key)?,
            most,
        })
    };
    // Of the processor, with its bound, and by the clock.
    let both = |cluster: &Value, key: &str, what: &str, most: Option<f64>| {
        Ok::<_, anyhow::Error>([
            named(
                cluster,
                &format!("{key}/cpu_ms"),
                &format!("{what}, ms"),
                most,
            )?,
            named(
                cluster,
                &format!("{key}/wall_ms"),
                &format!("{what}, ms by the clock"),
                None,
            )?,
        ])
    };
    let event = |part: &str, what: &str, wall: Option<f64>, cpu: Option<f64>| {
        let key = |of: &str| format!("event_{of}_us/{part}");
        Ok::<_, anyhow::Error>([
            named(
                large,
                &key("cpu"),
                &format!("an event of a watch, µs, {what}"),
                cpu,
            )?,
            named(
                large,
                &key("wall"),
                &format!("an event of a watch, µs by the clock, {what}"),
                wall,
            )?,
        ])
    };
    let neighbours = of(large, "neighbours")?;
    let ms = Some(1_000.0);
    let mut figures = Vec::new();
    figures.extend(both(large, "round", "planning a full round", Some(100.0))?);
    figures.extend(both(large, "orders", "of it, all agents' orders", None)?);
    figures.extend(both(large, "versions", "the versions of all orders", None)?);
    figures.extend(both(large, "join", "planning for a node more", None)?);
    figures.extend(both(large, "replan", "of it, taking the plan up", None)?);
    figures.push(named(large, "join_orders", "orders that it changes", None)?);
    figures.extend(event("mean", "mean", None, None)?);
    figures.extend(event("p999", "99.9 %", ms, ms)?);
    figures.extend(event("max", "most", None, ms)?);
    figures.extend(both(large, "members", "events wait for a plan", Some(1.0))?);
    figures.extend([
        named(
            large,
            "join_ring_begun",
            "ring pairs that a node begins",
            Some(2.0 * neighbours + 2.0),
        )?,
        named(
            large,
            "join_ring_ended",
            "ring pairs that it ends",
            Some(2.0 * neighbours + 2.0),
        )?,
        // Two each of the 4 pairs of zones that its zone is in.
        named(
            large,
            "join_zones_most",
            "zones' pairs that begin or end",
            Some(8.0),
        )?,
        named(
            large,
            "most_pairs_of_a_node",
            "pairs of a node, most",
            Some(neighbours + 8.0),
        )?,
        named(
            large,
            "answers_per_minute",
            "agents' answers in a minute",
            None,
        )?,
        named(
            large,
            "answers_cpu_seconds",
            "taking these in, s",
            Some(60.0),
        )?,
    ]);
    figures.extend(both(large, "scrape", "a scrape", None)?);
    figures.extend([
        named(large, "scrape_bytes", "its bytes", None)?,
        named(large, "series", "series", Some(150_000.0))?,
        named(
            large,
            "unexported_pairs",
            "pairs without series of their own",
            None,
        )?,
        named(large, "memory_mib", "memory, MiB", None)?,
        named(large, "memory_peak_mib", "memory, MiB, most", Some(300.0))?,
        // At most linear: ten times the nodes.
        Figure {
            name: "memory: 5000 nodes over 500".to_owned(),
            value: of(large, "memory_peak_mib")? / of(small, "memory_peak_mib")?,
            most: Some(10.0),
        },
        named(usual, "series", "series", Some(150_000.0))?,
        named(
            usual,
            "series_of_a_pair_most",
            "series of a pair",
            Some(20.0),
        )?,
    ]);
    figures.extend(both(usual, "scrape", "a scrape", None)?);
    figures.push(named(
        usual,
        "memory_peak_mib",
        "memory, MiB, most",
        Some(300.0),
    )?);
    figures.push(named(least, "series", "series", None)?);
    figures.extend(both(least, "scrape", "a scrape", Some(2.0))?);
    Ok(figures)
}
