//! The dashboard's queries, asked of a real Prometheus that scrapes a real cluster.

use std::time::Duration;

use anyhow::{Result, ensure};
use nettoll_tests::{
    cluster::{
        eventually, pods,
        prometheus::{Histograms, Prometheus},
        ready,
    },
    deploy,
};

/// For the mesh's first rounds, and two scrapes of them.
const PATIENCE: Duration = Duration::from_secs(120);
/// Panels that the always-on mesh fills by itself. The others need a run with the probe, a stream
/// or a loss.
const ALWAYS: [&str; 12] = [
    "Paths down",
    "Nodes apart",
    "Worst p99",
    "Lost",
    "Oldest result",
    "Toll of $metric, zone to zone",
    "Toll of $metric, node to node",
    "p99 of the round-trip time, zone to zone",
    "Loss, zone to zone",
    "p99 of the round-trip time, node to node",
    "Loss, node to node",
    "Median and p99 of the round-trip time by path",
];

#[test]
fn prometheus_answers_each_query_and_the_mesh_fills_its_panels() -> Result<()> {
    ready()?;
    let mut targets = Vec::new();
    for component in ["agent", "controller"] {
        let all = pods(component)?;
        targets.extend(all.iter().map(|pod| format!("{}:9471", pod.address)));
    }
    let prometheus = Prometheus::start(&targets, Histograms::Classic)?;
    let queries = deploy::dashboard_queries()?;
    for panel in ALWAYS {
        let known = queries.iter().any(|(title, _)| title == panel);
        ensure!(known, "no panel is called '{panel}'");
    }
    eventually(PATIENCE, || {
        for (title, query) in &queries {
            let vector = prometheus.query(query)?;
            let figures = vector.iter().filter(|(_, value)| !value.is_nan()).count();
            let needed = ALWAYS.contains(&title.as_str());
            ensure!(figures > 0 || !needed, "{title}: no figure for {query}");
        }
        Ok(())
    })?;
    for (title, query) in &queries {
        println!("{title}: {} series", prometheus.query(query)?.len());
    }
    Ok(())
}
