//! The mesh's series, read at the scrape from what the rounds say.
//!
//! Their names are those of finished jobs' edges, so that a registry has either these or those.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use nettoll_core::{
    endpoint::PathKind,
    mesh::EdgeView,
    report::{TestType, TollMetric},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter},
};

use crate::mesh::{Health, Mesh};

/// Reads the mesh.
pub(super) struct MeshCollector(pub(super) Arc<Mesh>);

impl fmt::Debug for MeshCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshCollector")
    }
}

/// An edge's labels.
type Labels<'a> = [(&'static str, &'a str); 7];

fn labels<'a>(edge: &EdgeView<'a>) -> Labels<'a> {
    [
        ("path", edge.path.as_str()),
        ("network", edge.network),
        ("from_node", &edge.from.name),
        ("to_node", &edge.to.name),
        ("from_zone", &edge.from.zone),
        ("to_zone", &edge.to.zone),
        ("test", TestType::UdpRr.as_str()),
    ]
}

impl Collector for MeshCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let health = self.0.health();
        let now_ms = self.0.now_ms();
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        let state = self.0.state();
        let edges: Vec<EdgeView<'_>> = state.edges(now_ms, true).collect();
        let mut gauge = |name, help, of: &dyn Fn(&EdgeView<'_>) -> Option<f64>| {
            let known = edges.iter().filter_map(|edge| Some((edge, of(edge)?)));
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (edge, value) in known {
                family.encode_family(&labels(edge))?.encode_gauge(&value)?;
            }
            Ok::<(), fmt::Error>(())
        };
        gauge(
            "nettoll_up",
            "1 where requests are answered, 0 after three rounds without an answer",
            &|edge| edge.up.map(|up| f64::from(u8::from(up))),
        )?;
        gauge(
            "nettoll_rtt_p50_seconds",
            "Median of the last 10 to 19 rounds",
            &|edge| edge.rtt_ns.map(|[p50, _]| p50 / 1e9),
        )?;
        gauge(
            "nettoll_rtt_p99_seconds",
            "99th percentile of the last 10 to 19 rounds",
            &|edge| edge.rtt_ns.map(|[_, p99]| p99 / 1e9),
        )?;
        gauge(
            "nettoll_last_success_timestamp_seconds",
            "When the last round with an answer ended, in Unix time",
            &|edge| {
                let ago = now_ms.saturating_sub(edge.last_success_ms?);
                Some(unix - ago as f64 / 1e3)
            },
        )?;
        let mut counter = |name, help, of: &dyn Fn(&EdgeView<'_>) -> u64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for edge in &edges {
                family
                    .encode_family(&labels(edge))?
                    .encode_counter::<NoLabelSet, _, u64>(&of(edge), None)?;
            }
            Ok::<(), fmt::Error>(())
        };
        counter("nettoll_requests", "Requests made", &|edge| edge.requests)?;
        counter("nettoll_lost", "Requests without an answer", &|edge| {
            edge.lost
        })?;
        let mut family = encoder.encode_descriptor(
            "nettoll_toll_ratio",
            "Round-trip times between pods over those between their nodes, mean of the last pairs \
             of rounds",
            None,
            MetricType::Gauge,
        )?;
        let metrics = [TollMetric::RttMean, TollMetric::RttP50].map(TollMetric::as_str);
        for edge in edges.iter().filter(|edge| edge.path == PathKind::PodToPod) {
            let Some(ratios) = edge.toll.and_then(|toll| toll.ratios()) else {
                continue;
            };
            for (metric, ratio) in metrics.into_iter().zip(ratios) {
                family
                    .encode_family(&(labels(edge), [("metric", metric)]))?
                    .encode_gauge(&ratio)?;
            }
        }
        drop(state);
        encode_health(&mut encoder, &health)
    }
}

fn encode_health(encoder: &mut DescriptorEncoder<'_>, health: &Health) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "nettoll_mesh_rounds",
        "Rounds that agents told, by what became of them",
        None,
        MetricType::Counter,
    )?;
    for (outcome, count) in &health.rounds {
        family
            .encode_family(&[("outcome", *outcome)])?
            .encode_counter::<NoLabelSet, _, u64>(count, None)?;
    }
    let missed = ConstCounter::new(health.missed);
    encode_one(
        encoder,
        "nettoll_mesh_missed_rounds",
        "Rounds that agents no longer had when they were asked",
        &missed,
    )?;
    let mut family = encoder.encode_descriptor(
        "nettoll_mesh_members",
        "Nodes of the mesh, by whether their agent answers",
        None,
        MetricType::Gauge,
    )?;
    for (agent, count) in ["answers", "silent"].into_iter().zip(health.members) {
        family
            .encode_family(&[("agent", agent)])?
            .encode_gauge(&(count as f64))?;
    }
    let mut family = encoder.encode_descriptor(
        "nettoll_mesh_pairs",
        "Pairs of nodes: with series of their own, in their zones' series only, and left out",
        None,
        MetricType::Gauge,
    )?;
    let states = ["exported", "unexported", "left_out"];
    for (state, count) in states.into_iter().zip(health.pairs) {
        family
            .encode_family(&[("state", state)])?
            .encode_gauge(&(count as f64))?;
    }
    Ok(())
}

fn encode_one(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl prometheus_client::encoding::EncodeMetric,
) -> Result<(), fmt::Error> {
    let family = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(family)
}
