//! A cluster of any size on one machine: the real state machine, planner, results and encoder, and
//! made-up rounds. For `cargo xtask bench controller`, which says what the figures shall be.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

use nettoll_core::{
    api::{LightPlan, LightResults, LightRound},
    exposition::Format,
    histogram::{Histogram, USER_SUB_BITS},
    inventory::{Cluster, Event, NodeFacts, PodFacts, Role},
    mesh::{Plan, Settings, Why},
    random::SplitMix64,
};
use serde::Serialize;

use crate::{mesh::Mesh, metrics::Metrics};

/// Made-up rounds differ in so many ways.
const VARIANTS: usize = 64;
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
}

/// What it took.
#[derive(Debug, Default, Serialize)]
struct Figures {
    nodes: u32,
    neighbours: usize,
    pairs: usize,
    most_pairs_of_a_node: usize,
    event_mean_us: f64,
    event_p999_us: f64,
    event_max_us: f64,
    plan_ms: f64,
    orders_ms: f64,
    replan_ms: f64,
    join_ring_begun: usize,
    join_ring_ended: usize,
    join_zones_most: usize,
    answers_per_minute: usize,
    answers_cpu_seconds: f64,
    scrape_ms: f64,
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
    figures.memory_mib = memory_mib("VmRSS:");
    figures.memory_peak_mib = memory_mib("VmHWM:");
    join(&mut cluster, args, &settings, &mut figures);
    println!("{}", serde_json::to_string_pretty(&figures)?);
    Ok(())
}

/// All events of the cluster, and all once more with other readiness, each timed alone.
fn grow(cluster: &mut Cluster, args: &Args, figures: &mut Figures) {
    let mut times = Vec::new();
    for ready in [true, false, true] {
        for number in 0..args.nodes {
            for event in node(number, args.zones, ready) {
                let begin = Instant::now();
                cluster.apply(event);
                times.push(begin.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    times.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied();
    figures.event_mean_us = times.iter().sum::<f64>() / times.len().max(1) as f64;
    figures.event_p999_us = at(0.999).unwrap_or_default();
    figures.event_max_us = times.last().copied().unwrap_or_default();
}

/// A node and its pods as watches tell of them.
fn node(number: u32, zones: u32, ready: bool) -> [Event; 4] {
    let address = |network: u32| IpAddr::V4(Ipv4Addr::from((network << 24) + number + 1));
    let name = format!("ip-10-0-{}-{}.compute.internal", number / 256, number % 256);
    let pod = |role, component: &str, network| {
        Event::Pod(PodFacts {
            uid: format!("{number:08x}-6dd4-4be5-8a0c-{component:0>12.12}"),
            namespace: "nettoll".to_owned(),
            name: format!("nettoll-{component}-{number:05}"),
            node: Some(name.clone()),
            address: Some(address(network)),
            host_network: role == Role::Agent,
            ready,
            gone: false,
            role,
        })
    };
    [
        Event::Node(NodeFacts {
            name: name.clone(),
            address: Some(address(10)),
            zone: Some(format!("region-1{}", number % zones)),
            ready,
            labels: Arc::default(),
        }),
        pod(Role::Agent, "agent", 10),
        pod(Role::EndpointA, "endpoint-a", 11),
        pod(Role::EndpointB, "endpoint-b", 12),
    ]
}

fn plan(cluster: &Cluster, settings: &Settings, mesh: &Mesh, figures: &mut Figures) {
    let (took, plan) = best(3, || Plan::new(cluster, settings));
    figures.plan_ms = took;
    let members = plan.members().len();
    let (took, _) = best(3, || {
        // As they go out: one after the other.
        (0..members)
            .map(|member| plan.light(member).edges.len())
            .sum::<usize>()
    });
    figures.orders_ms = took;
    figures.pairs = plan.pairs().len();
    figures.unexported_pairs = plan.unexported();
    let of_node = (0..members).map(|member| plan.pairs_from(member).len());
    figures.most_pairs_of_a_node = of_node.max().unwrap_or(0);
    let begin = Instant::now();
    mesh.state().replan(plan);
    figures.replan_ms = begin.elapsed().as_secs_f64() * 1e3;
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
            let begin = Instant::now();
            let results = body.and_then(|body| serde_json::from_slice::<LightResults>(&body));
            match results {
                Ok(results) => {
                    let mut state = mesh.state();
                    for round in &results.rounds {
                        let (_, accepted) = state.take(node, round, mesh.now_ms());
                        if let Some(accepted) = accepted {
                            metrics.record_light(&accepted, round);
                        }
                    }
                }
                Err(error) => outcome = Err(error),
            }
            figures.answers_cpu_seconds += begin.elapsed().as_secs_f64();
            figures.answers_per_minute += 1;
        }
    });
    outcome
}

fn each_order(mesh: &Mesh, mut with: impl FnMut(&str, &LightPlan)) {
    let names: Vec<String> = {
        let state = mesh.state();
        let members = state.plan().members().iter();
        members.map(|member| member.name.clone()).collect()
    };
    for name in names {
        let order = mesh.state().light(&name);
        if let Some(order) = order {
            with(&name, &order);
        }
    }
}

fn scrape(metrics: &Metrics, mesh: &Mesh, figures: &mut Figures) {
    let (took, text) = best(3, || metrics.page(Format::OpenMetrics));
    let text = String::from_utf8_lossy(&text);
    figures.scrape_ms = took;
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
fn join(cluster: &mut Cluster, args: &Args, settings: &Settings, figures: &mut Figures) {
    let named = |cluster: &Cluster| {
        let plan = Plan::new(cluster, settings);
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
    let (ring, zones) = named(cluster);
    node(args.nodes, args.zones, true)
        .into_iter()
        .for_each(|event| cluster.apply(event));
    let (ring_after, zones_after) = named(cluster);
    figures.join_ring_begun = ring_after.difference(&ring).count();
    figures.join_ring_ended = ring.difference(&ring_after).count();
    let begun = zones_after.difference(&zones).count();
    figures.join_zones_most = begun.max(zones.difference(&zones_after).count());
}

/// Rounds of 50 requests, with times as a pod network has them.
fn variants() -> Vec<LightRound> {
    let mut random = SplitMix64::new(7);
    let round = |_| {
        let mut times = Histogram::new(USER_SUB_BITS);
        for _ in 0..50 {
            let tail = random.uniform().powi(8) * 400_000.0;
            times.record((60_000.0 + 30_000.0 * random.uniform() + tail) as u64);
        }
        LightRound {
            sequence: 1,
            edge: String::new(),
            age_ms: 5_000,
            sent: 50,
            answered: 50,
            lost: 0,
            rtt: times.to_times(),
            ..LightRound::default()
        }
    };
    (0..VARIANTS).map(round).collect()
}

/// The shortest of some times in ms, and the last value.
fn best<T>(times: usize, mut what: impl FnMut() -> T) -> (f64, T) {
    let mut timed = || {
        let begin = Instant::now();
        let value = what();
        (begin.elapsed().as_secs_f64() * 1e3, value)
    };
    let mut least = f64::INFINITY;
    for _ in 1..times {
        // Its value is gone before the next one comes.
        least = least.min(timed().0);
    }
    let (took, value) = timed();
    (least.min(took), value)
}

/// By /proc/self/status; 0 where there is none.
fn memory_mib(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
