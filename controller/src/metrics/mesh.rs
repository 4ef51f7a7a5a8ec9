//! The mesh's series, read at the scrape from what the rounds say.

use std::time::{SystemTime, UNIX_EPOCH};

use nettoll_core::{
    endpoint::PathKind,
    exposition::{Kind, Page},
    mesh::EdgeView,
    report::{TestType, TollMetric},
};

use super::edges::{self, EdgeLabels, Known, KnownToll};
use crate::mesh::{Health, Mesh};

/// Reads the mesh.
pub(super) fn write(page: &mut Page, mesh: &Mesh) {
    let health = mesh.health();
    let now_ms = mesh.now_ms();
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    {
        let state = mesh.state();
        let edges: Vec<_> = state
            .edges(now_ms, true)
            .flat_map(|edge| {
                [
                    (labels(&edge, edge.test), rounds(&edge, now_ms, unix)),
                    (labels(&edge, TestType::TcpStream), stream(&edge)),
                ]
            })
            .collect();
        edges::write(page, &edges);
    }
    write_health(page, &health);
}

fn labels<'a>(edge: &EdgeView<'a>, test: TestType) -> EdgeLabels<'a> {
    [
        ("path", edge.path.as_str()),
        ("network", edge.network),
        ("from_node", &edge.from.name),
        ("to_node", &edge.to.name),
        ("from_zone", &edge.from.zone),
        ("to_zone", &edge.to.zone),
        ("test", test.as_str()),
    ]
}

/// What rounds say.
fn rounds(edge: &EdgeView<'_>, now_ms: u64, unix: f64) -> Known {
    let toll = edge.toll.filter(|_| edge.path == PathKind::PodToPod);
    // Of the means alone: a pair has no room for more than 20 series (ADR 17).
    let toll = toll.and_then(|toll| {
        let [ratio, _] = toll.ratios()?;
        let interval_ratio = toll.interval_ratio();
        Some(KnownToll {
            ratio,
            interval_ratio,
        })
    });
    let tolls = toll.map(|toll| (TollMetric::RttMean.as_str(), toll));
    Known {
        up: edge.up,
        rtt_seconds: edge.rtt_ns.map(|both| both.map(|ns| ns / 1e9)),
        requests: Some(edge.requests),
        lost: Some(edge.lost),
        last_success_seconds: edge
            .last_success_ms
            .map(|last| unix - now_ms.saturating_sub(last) as f64 / 1e3),
        closure: edge.closure,
        path_mtu_ok: edge.path_mtu_ok,
        tolls: tolls.into_iter().collect(),
        ..Known::default()
    }
}

/// What the last day's stream says.
fn stream(edge: &EdgeView<'_>) -> Known {
    let toll = edge.throughput_toll.map(|ratio| KnownToll {
        ratio,
        interval_ratio: None,
    });
    let tolls = toll.map(|toll| (TollMetric::Throughput.as_str(), toll));
    Known {
        bytes_per_second: edge.bytes_per_second,
        tolls: tolls.into_iter().collect(),
        ..Known::default()
    }
}

fn write_health(page: &mut Page, health: &Health) {
    let mut family = page.family(
        "nettoll_mesh_rounds_total",
        Kind::Counter,
        "Rounds that agents told, by what became of them",
    );
    for (outcome, count) in &health.rounds {
        family.add(&[("outcome", outcome)], *count as f64);
    }
    page.single(
        "nettoll_mesh_missed_rounds_total",
        Kind::Counter,
        "Rounds that agents no longer had when they were asked",
        health.missed as f64,
    );
    let mut family = page.family(
        "nettoll_mesh_members",
        Kind::Gauge,
        "Nodes of the mesh, by whether their agent answers",
    );
    for (agent, count) in ["answers", "silent"].into_iter().zip(health.members) {
        family.add(&[("agent", agent)], count as f64);
    }
    let mut family = page.family(
        "nettoll_mesh_pairs",
        Kind::Gauge,
        "Pairs of nodes: with series of their own, in their zones' series only, and left out",
    );
    let states = ["exported", "unexported", "left_out"];
    for (state, count) in states.into_iter().zip(health.pairs) {
        family.add(&[("state", state)], count as f64);
    }
}
