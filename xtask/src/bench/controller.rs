//! `cargo xtask bench controller`: what clusters of some sizes take of the controller.
//!
//! An example of the controller's simulates them: state machine, planner and encoder are the real
//! ones, the rounds are made up. An example of the agent's makes the fullest page of its metrics,
//! for both pages have one bound. No lab, no root.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::figure::{Figure, render};
use crate::{exec, output::Output, places::Places};

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
    let mut cargo = places.cargo("build");
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
    let example = |name: &str, args: &[&str]| -> Result<Value> {
        let binary = places.target.join("release/examples").join(name);
        let text = exec::ask(Command::new(binary).args(args))?;
        serde_json::from_str(&text).with_context(|| format!("the example {name} prints no JSON"))
    };
    let mut simulated = Vec::new();
    for (nodes, neighbours) in CLUSTERS {
        let (nodes, neighbours) = (nodes.to_string(), neighbours.to_string());
        let args = ["--nodes", &nodes, "--neighbours", &neighbours];
        simulated.push(example("simulate", &args)?);
    }
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
        Output::Table => print!("{}", render(&figures)),
        Output::Json => {
            let figures: Vec<_> = figures.iter().map(Figure::to_json).collect();
            let all = json!({ "figures": figures, "simulated": simulated, "page": page });
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
    Ok(())
}

fn of(figures: &Value, key: &str) -> Result<f64> {
    let value = figures[key].as_f64();
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
    let neighbours = of(large, "neighbours")?;
    let round =
        |cluster| Ok::<_, anyhow::Error>(of(cluster, "plan_ms")? + of(cluster, "orders_ms")?);
    let growth = |name: &str, small: f64, large: f64, most: f64| Figure {
        name: format!("{name}: 5000 nodes over 500"),
        value: large / small,
        most: Some(most),
    };
    Ok(vec![
        named(large, "plan_ms", "planning all pairs, ms", None)?,
        Figure {
            name: "planning a full round with all agents' orders, ms, 5000 nodes, k = 16"
                .to_owned(),
            value: round(large)?,
            most: Some(100.0),
        },
        // At most linear: ten times the nodes.
        growth("the same", round(small)?, round(large)?, 10.0),
        named(large, "replan_ms", "taking a plan up, ms", None)?,
        named(
            large,
            "event_mean_us",
            "an event of a watch, µs, mean",
            None,
        )?,
        named(
            large,
            "event_max_us",
            "an event of a watch, µs, most",
            Some(1_000.0),
        )?,
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
        named(large, "scrape_ms", "a scrape, ms", None)?,
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
        growth(
            "memory",
            of(small, "memory_peak_mib")?,
            of(large, "memory_peak_mib")?,
            10.0,
        ),
        named(usual, "series", "series", Some(150_000.0))?,
        named(
            usual,
            "series_of_a_pair_most",
            "series of a pair",
            Some(20.0),
        )?,
        named(usual, "scrape_ms", "a scrape, ms", None)?,
        named(usual, "memory_peak_mib", "memory, MiB, most", Some(300.0))?,
        named(least, "series", "series", None)?,
        named(least, "scrape_ms", "a scrape, ms", Some(2.0))?,
    ])
}
