//! What the controller's lists say: `GET /api/v1/nodes`, `pairs` and `runs`.

use serde::{Deserialize, Serialize};

use super::{AgentInfo, InventoryNode};
use crate::{
    annotation::TestAnswer,
    endpoint::{Endpoint, Path, PathKind},
    mesh::EdgeView,
    report::{Report, Run, TestType, TollMetric},
};

/// A node with a ready agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeSummary {
    /// Its name, addresses and pods.
    pub node: InventoryNode,
    /// What its agent says of itself; `null` where it did not answer.
    pub agent: Option<AgentInfo>,
    /// Why it did not answer.
    pub error: Option<String>,
}

/// An edge of the always-on mesh: one path from a node to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairSummary {
    /// The kind of its path.
    pub path: PathKind,
    /// The pod network; `null` where the path uses none.
    pub network: Option<String>,
    /// The probing node.
    pub from_node: String,
    /// The probed node.
    pub to_node: String,
    /// The probing node's zone; empty where it has none.
    pub from_zone: String,
    /// The probed node's zone.
    pub to_zone: String,
    /// The type of traffic.
    pub test: TestType,
    /// It answers; `null` where that is not known yet.
    pub up: Option<bool>,
    /// Median of the last rounds.
    pub rtt_p50_ns: Option<f64>,
    /// 99th percentile of the last rounds.
    pub rtt_p99_ns: Option<f64>,
    /// Requests so far.
    pub requests: u64,
    /// Those without an answer.
    pub lost: u64,
    /// Time since the last round with an answer.
    pub last_success_seconds_ago: Option<f64>,
    /// Packets as large as the path claims come through; `null` where that was not tested lately.
    pub path_mtu_ok: Option<bool>,
    /// Part of the round-trip time that stages and wire explain; `null` for `host-to-host`, and
    /// without the probe.
    pub closure: Option<f64>,
    /// What it costs beyond its baseline; empty for `host-to-host`, and where nothing is known.
    pub tolls: Vec<PairToll>,
}

/// A toll of the always-on mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairToll {
    /// What is compared.
    pub metric: TollMetric,
    /// The path's figure over its baseline's.
    pub ratio: f64,
    /// 95 % interval of `ratio`; `null` with too few pairs of rounds.
    pub ci95: Option<[f64; 2]>,
    /// The interval does not contain 1.
    pub resolved: Option<bool>,
    /// Pairs of rounds.
    pub pairs: usize,
}

impl PairSummary {
    /// Of an edge at `now_ms` of the mesh's clock.
    #[must_use]
    pub fn of(edge: &EdgeView<'_>, now_ms: u64) -> Self {
        let ago_ms = |at| now_ms.saturating_sub(at);
        Self {
            path: edge.path,
            network: Some(edge.network.to_owned()).filter(|network| !network.is_empty()),
            from_node: edge.from.name.clone(),
            to_node: edge.to.name.clone(),
            from_zone: edge.from.zone.clone(),
            to_zone: edge.to.zone.clone(),
            test: TestType::UdpRr,
            up: edge.up,
            rtt_p50_ns: edge.rtt_ns.map(|[p50, _]| p50),
            rtt_p99_ns: edge.rtt_ns.map(|[_, p99]| p99),
            requests: edge.requests,
            lost: edge.lost,
            last_success_seconds_ago: edge.last_success_ms.map(|at| ago_ms(at) as f64 / 1e3),
            path_mtu_ok: edge.path_mtu_ok,
            closure: edge.closure,
            tolls: tolls(edge),
        }
    }
}

fn tolls(edge: &EdgeView<'_>) -> Vec<PairToll> {
    let Some((toll, ratios)) = edge.toll.and_then(|toll| Some((toll, toll.ratios()?))) else {
        return Vec::new();
    };
    let intervals = toll.intervals();
    let metrics = [TollMetric::RttMean, TollMetric::RttP50];
    let all = metrics.into_iter().zip(ratios).enumerate();
    all.map(|(which, (metric, ratio))| {
        let interval = intervals.as_ref().map(|intervals| &intervals[which]);
        PairToll {
            metric,
            ratio,
            ci95: interval.map(|interval| interval.ci95),
            resolved: interval.map(|interval| interval.resolved()),
            pairs: toll.pairs(),
        }
    })
    .collect()
}

/// A run that the controller still has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// By which `GET /api/v1/runs/ID` and `GET /api/v1/stacks/ID` answer.
    pub id: String,
    /// When its job began: RFC 3339, UTC.
    pub started: String,
    /// From where to where.
    pub path: Path,
    /// The type of traffic.
    pub test: TestType,
    /// Its figures may be used.
    pub valid: bool,
    /// Its main figure: the mean round trip (`path_cost`: one way), or the throughput.
    pub value: Option<f64>,
    /// `ns` or `bit/s`.
    pub unit: String,
    /// That figure over its baseline's.
    pub toll: Option<f64>,
    /// 95 % interval of `toll`.
    pub ci95: Option<[f64; 2]>,
    /// The pod that answered for the service, on a path to one.
    pub backend: Option<Endpoint>,
    /// It has stacks.
    pub sampled: bool,
}

impl RunSummary {
    /// Of a run of a report.
    #[must_use]
    pub fn of(run: &Run, report: &Report, sampled: bool) -> Self {
        let TestAnswer {
            test,
            valid,
            value,
            unit,
            toll,
            ci95,
            run_id: id,
            backend,
        } = TestAnswer::of(run, &report.tolls);
        Self {
            id,
            started: report.context.started.clone(),
            path: run.path.clone(),
            test,
            valid,
            value,
            unit: unit.to_owned(),
            toll,
            ci95,
            backend,
            sampled,
        }
    }
}
