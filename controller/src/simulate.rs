//! A cluster of any size on one machine: the real state machine, planner, results and encoder, and
//! made-up rounds. For `cargo xtask bench controller`, which says what the figures shall be.

mod growth;
mod made_up;
mod took;

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    sync::Arc,
};

use nettoll_core::{
    api::{LightPlan, LightResults},
    exposition::Format,
    inventory::Cluster,
    mesh::{Plan, Settings, State, Why},
    random::SplitMix64,
};
use serde::Serialize;

use self::{
    made_up::{node, variants},
    took::{Spread, Took, least, once},
};
use crate::{mesh::Mesh, metrics::Metrics};

/// Rounds of each edge, until windows and tolls are full.
const PERIODS: u64 = 61;
/// How often an agent is asked in a minute.
const ANSWERS_PER_MINUTE: usize = 4;

/// What is simulated.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes of the cluster
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    nodes: u32,
    /// Neighbours of each node
    #[arg(long, default_value_t = 5, value_name = "K")]
    neighbours: usize,
    /// Zones of the cluster
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    zones: u32,
    /// Rounds over TCP besides
    #[arg(long)]
    tcp_rr: bool,
    /// Only compare planning with that of smaller clusters, as many as have the same nodes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    beside: Option<u32>,
}

/// What it took.
#[derive(Debug, Default, Serialize)]
struct Figures {
    nodes: u32,
    neighbours: usize,
    pairs: usize,
    most_pairs_of_a_node: usize,
    /// Times of events, by the clock and of the processor.
    event_wall_us: Spread,
    event_cpu_us: Spread,
    /// What a plan is made of is taken from the cluster: events wait for that.
    members: Took,
    /// All pairs, and all agents' orders.
    round: Took,
    /// The second part of it: orders for agents that have none.
    orders: Took,
    /// Their versions alone, by which the controller sees which are others than before.
    versions: Took,
    /// A node more: planned, taken up, and the orders that are others made.
    join: Took,
    replan: Took,
    join_orders: usize,
    join_ring_begun: usize,
    join_ring_ended: usize,
    join_zones_most: usize,
    answers_per_minute: usize,
    answers_cpu_seconds: f64,
    scrape: Took,
    scrape_bytes: usize,
    series: usize,
    series_of_a_pair_most: usize,
    unexported_pairs: usize,
    memory_mib: f64,
    memory_peak_mib: f64,
}

/// Prints the figures as JSON.
pub fn run(args: &Args) -> Result<(), serde_json::Error> {
    let settings = Settings {
        neighbours: args.neighbours,
        tcp_rr: args.tcp_rr,
        // The density is what is asked for, not what the default budget pays for.
        node_cpu_permille: 1_000,
        node_bits_per_second: u64::MAX,
        cluster_bits_per_second: u64::MAX,
        ..Settings::default()
    };
    if let Some(small) = args.beside {
        let growth = growth::growth(args.nodes, small, args.zones, &settings);
        println!("{}", serde_json::to_string_pretty(&growth)?);
        return Ok(());
    }
    let mut figures = Figures {
        nodes: args.nodes,
        neighbours: args.neighbours,
        ..Figures::default()
    };
    let mut cluster = Cluster::new("vxlan");
    grow(&mut cluster, args, &mut figures);
    let mesh = Arc::new(Mesh::new(settings.clone()));
    let metrics = Metrics::with_mesh(Arc::clone(&mesh));
    plan(&cluster, &settings, &mesh, &mut figures);
    fill(&mesh, &metrics);
    a_minute(&mesh, &metrics, &mut figures)?;
    scrape(&metrics, &mesh, &mut figures);
    join(&mut cluster, args, &settings, &mesh, &mut figures);
    figures.memory_mib = memory_mib("VmRSS:");
    figures.memory_peak_mib = memory_mib("VmHWM:");
    println!("{}", serde_json::to_string_pretty(&figures)?);
    Ok(())
}

/// All events of the cluster, and all once more with other readiness, each timed alone.
fn grow(cluster: &mut Cluster, args: &Args, figures: &mut Figures) {
    let (mut wall_us, mut cpu_us) = (Vec::new(), Vec::new());
    for ready in [true, false, true] {
        for number in 0..args.nodes {
            for event in node(number, args.zones, ready) {
                let (took, ()) = once(|| cluster.apply(event));
                wall_us.push(took.wall_ms * 1e3);
                cpu_us.push(took.cpu_ms * 1e3);
            }
        }
    }
    figures.event_wall_us = Spread::of(wall_us);
    figures.event_cpu_us = Spread::of(cpu_us);
}

fn plan(cluster: &Cluster, settings: &Settings, mesh: &Mesh, figures: &mut Figures) {
    let members = || cluster.members().cloned().collect::<Vec<_>>();
    figures.members = least(members);
    figures.round = least(|| planned(&Plan::new(cluster, settings)));
    let plan = Plan::new(cluster, settings);
    figures.orders = least(|| planned(&plan));
    let members = plan.members().len();
    figures.versions = least(|| {
        let versions = (0..members).filter_map(|member| plan.version(member));
        versions.map(|version| version.len()).sum::<usize>()
    });
    figures.pairs = plan.pairs().len();
    figures.unexported_pairs = plan.unexported();
    let of_node = (0..members).map(|member| plan.pairs_from(member).len());
    figures.most_pairs_of_a_node = of_node.max().unwrap_or(0);
    mesh.state().replan(plan);
}

/// All agents' orders, as they go out: one after the other.
fn planned(plan: &Plan) -> usize {
    let orders = (0..plan.members().len()).map(|member| plan.light(member));
    orders.map(|order| order.edges.len()).sum()
}

/// Enough rounds for all windows to be full.
fn fill(mesh: &Mesh, metrics: &Metrics) {
    let rounds = variants();
    let mut random = SplitMix64::new(1);
    let now_ms = mesh.now_ms();
    for period in (0..PERIODS).rev() {
        each_order(mesh, |node, order| {
            let mut state = mesh.state();
            for edge in &order.edges {
                let mut round = rounds[random.below(rounds.len())].clone();
                round.edge.clone_from(&edge.id);
                let at_ms = now_ms.saturating_sub(period * u64::from(order.period_ms));
                let (_, accepted) = state.take(node, &round, at_ms);
                if let Some(accepted) = accepted {
                    metrics.record_light(&accepted, &round);
                }
            }
        });
    }
}

/// The answers of all agents in a minute, from the bytes to the series.
fn a_minute(
    mesh: &Mesh,
    metrics: &Metrics,
    figures: &mut Figures,
) -> Result<(), serde_json::Error> {
    let rounds = variants();
    let mut random = SplitMix64::new(2);
    let mut outcome = Ok(());
    each_order(mesh, |node, order| {
        let each = (2 * order.edges.len()).div_ceil(ANSWERS_PER_MINUTE).max(1);
        let of_minute: Vec<_> = order.edges.iter().chain(&order.edges).collect();
        for edges in of_minute.chunks(each) {
            let told = |edge: &&nettoll_core::api::LightEdge| {
                let mut round = rounds[random.below(rounds.len())].clone();
                round.edge.clone_from(&edge.id);
                round
            };
            let body = serde_json::to_vec(&LightResults {
                version: Some(order.version.clone()),
                instance: 1,
                next: 1,
                missed: 0,
                rounds: edges.iter().map(told).collect(),
                responders: Vec::new(),
                watched: Vec::new(),
                path_mtus: Vec::new(),
            });
            let (took, taken) = once(|| -> Result<(), serde_json::Error> {
                let results: LightResults = serde_json::from_slice(&body?)?;
                let mut state = mesh.state();
                for round in &results.rounds {
                    let (_, accepted) = state.take(node, round, mesh.now_ms());
                    if let Some(accepted) = accepted {
                        metrics.record_light(&accepted, round);
                    }
                }
                Ok(())
            });
            if taken.is_err() {
                outcome = taken;
            }
            figures.answers_cpu_seconds += took.cpu_ms / 1e3;
            figures.answers_per_minute += 1;
        }
    });
    outcome
}

fn each_order(mesh: &Mesh, mut with: impl FnMut(&str, &LightPlan)) {
    let names = names(&mesh.state());
    for name in names {
        let order = mesh.state().light(&name);
        if let Some(order) = order {
            with(&name, &order);
        }
    }
}

fn names(state: &State) -> Vec<String> {
    let members = state.plan().members().iter();
    members.map(|member| member.name.clone()).collect()
}

fn scrape(metrics: &Metrics, mesh: &Mesh, figures: &mut Figures) {
    figures.scrape = least(|| metrics.page(Format::OpenMetrics));
    let text = metrics.page(Format::OpenMetrics);
    let text = String::from_utf8_lossy(&text);
    figures.scrape_bytes = text.len();
    figures.series = text.lines().filter(|line| !line.starts_with('#')).count();
    // Of the first pair that has series: those with both its names.
    let state = mesh.state();
    let Some(pair) = state.plan().pairs().iter().find(|pair| pair.exported) else {
        return;
    };
    let [from, to] = [pair.from, pair.to].map(|end| state.plan().members().get(end));
    if let (Some(from), Some(to)) = (from, to) {
        let label = format!("from_node=\"{}\",to_node=\"{}\"", from.name, to.name);
        figures.series_of_a_pair_most = text.matches(&label).count();
    }
}

/// One node more.
fn join(
    cluster: &mut Cluster,
    args: &Args,
    settings: &Settings,
    mesh: &Mesh,
    figures: &mut Figures,
) {
    let named = |plan: &Plan| {
        let mut ring = BTreeSet::new();
        let mut zones = BTreeSet::new();
        for pair in plan.pairs() {
            let into = if pair.why == Why::Zones {
                &mut zones
            } else {
                &mut ring
            };
            into.insert(pair.id);
        }
        (ring, zones)
    };
    let mut state = mesh.state();
    let (ring, zones) = named(state.plan());
    let version = |state: &State, name: &str| state.order(name).and_then(|(_, version)| version);
    let known: HashMap<String, Option<String>> = (names(&state).into_iter())
        .map(|name| {
            let version = version(&state, &name);
            (name, version)
        })
        .collect();
    node(args.nodes, args.zones, true)
        .into_iter()
        .for_each(|event| cluster.apply(event));
    let (planned, plan) = once(|| Plan::new(cluster, settings));
    (figures.replan, ()) = once(|| state.replan(plan));
    let (made, others) = once(|| {
        let names = names(&state);
        let others = (names.iter()).filter(|&name| known.get(name) != Some(&version(&state, name)));
        others.filter_map(|name| state.light(name)).count()
    });
    figures.join_orders = others;
    for took in [planned, figures.replan, made] {
        figures.join.cpu_ms += took.cpu_ms;
        figures.join.wall_ms += took.wall_ms;
    }
    let (ring_after, zones_after) = named(state.plan());
    figures.join_ring_begun = ring_after.difference(&ring).count();
    figures.join_ring_ended = ring.difference(&ring_after).count();
    let begun = zones_after.difference(&zones).count();
    figures.join_zones_most = begun.max(zones.difference(&zones_after).count());
}

/// By /proc/self/status; 0 where there is none.
fn memory_mib(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
