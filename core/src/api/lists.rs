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
    /// It carries packets as large as it claims; `null` where that was not tested lately.
    pub path_mtu_ok: Option<bool>,
    /// Payload of the last day's stream.
    pub throughput_bits_per_second: Option<f64>,
    /// The sum of the mean stage times of both nodes over the mean round-trip time.
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
            test: edge.test,
            up: edge.up,
            rtt_p50_ns: edge.rtt_ns.map(|[p50, _]| p50),
            rtt_p99_ns: edge.rtt_ns.map(|[_, p99]| p99),
            requests: edge.requests,
            lost: edge.lost,
            last_success_seconds_ago: edge.last_success_ms.map(|at| ago_ms(at) as f64 / 1e3),
            path_mtu_ok: edge.path_mtu_ok,
            throughput_bits_per_second: edge.bytes_per_second.map(|bytes| bytes * 8.0),
            closure: edge.closure,
            tolls: round_trips(edge).chain(throughput(edge)).collect(),
        }
    }
}

/// Of the light rounds.
fn round_trips(edge: &EdgeView<'_>) -> impl Iterator<Item = PairToll> {
    let known = edge.toll.and_then(|toll| {
        let ratios = toll.ratios()?;
        let intervals = toll.intervals();
        let intervals = intervals.map_or([None, None], |intervals| intervals.map(Some));
        let metrics = [TollMetric::RttMean, TollMetric::RttP50];
        Some((toll.pairs(), metrics.into_iter().zip(ratios).zip(intervals)))
    });
    known.into_iter().flat_map(|(pairs, all)| {
        all.map(move |((metric, ratio), interval)| PairToll {
            metric,
            ratio,
            ci95: interval.as_ref().map(|interval| interval.ci95),
            resolved: interval.as_ref().map(|interval| interval.resolved()),
            pairs,
        })
    })
}

/// Of the day's one stream: no interval.
fn throughput(edge: &EdgeView<'_>) -> Option<PairToll> {
    Some(PairToll {
        metric: TollMetric::Throughput,
        ratio: edge.throughput_toll?,
        ci95: None,
        resolved: None,
        pairs: 1,
    })
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
    /// Its main figure: the mean round trip (`path_cost`: one way), the throughput, or the median
    /// of `http_rr`.
    pub value: Option<f64>,
    /// `ns` or `bit/s`.
    pub unit: String,
    /// That figure over its baseline's.
    pub toll: Option<f64>,
    /// 95 % interval of `toll`.
    pub ci95: Option<[f64; 2]>,
    /// The pod that answered for the service, on a path to one.
    pub backend: Option<Endpoint>,
    /// The most frequent status that is an error (`http_rr`).
    pub status: Option<u16>,
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
            status,
            // They are in the run's report.
            stages: _,
            lost_share: _,
            jitter_ns: _,
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
            status,
            sampled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Member;

    fn member(name: &str) -> Member {
        Member {
            name: name.to_owned(),
            zone: String::new(),
            address: [198, 18, 0, 1].into(),
            agent: None,
            agent_uid: None,
            pod: None,
            labels: std::sync::Arc::default(),
        }
    }

    #[test]
    fn what_is_not_known_of_an_edge_is_null() {
        let (from, to) = (member("n1"), member("n2"));
        let mut edge = EdgeView {
            test: TestType::UdpRr,
            path: PathKind::HostToHost,
            network: "",
            from: &from,
            to: &to,
            up: None,
            rtt_ns: None,
            requests: 0,
            lost: 0,
            last_success_ms: None,
            path_mtu_ok: None,
            toll: None,
            closure: None,
            bytes_per_second: None,
            throughput_toll: None,
        };
        let json = serde_json::to_value(PairSummary::of(&edge, 0)).unwrap();
        for key in [
            "network",
            "up",
            "rtt_p50_ns",
            "last_success_seconds_ago",
            "closure",
        ] {
            assert!(json[key].is_null(), "{json}");
        }
        assert_eq!(json["tolls"], serde_json::json!([]));

        (edge.path, edge.network) = (PathKind::PodToPod, "pods");
        (edge.rtt_ns, edge.last_success_ms) = (Some([1.0, 2.0]), Some(500));
        (edge.bytes_per_second, edge.throughput_toll) = (Some(10.0), Some(0.8));
        let summary = PairSummary::of(&edge, 2_000);
        assert_eq!(summary.network.as_deref(), Some("pods"));
        assert_eq!(
            (summary.rtt_p50_ns, summary.rtt_p99_ns),
            (Some(1.0), Some(2.0))
        );
        assert_eq!(summary.last_success_seconds_ago, Some(1.5));
        assert_eq!(summary.throughput_bits_per_second, Some(80.0));
        let [toll] = &summary.tolls[..] else {
            panic!("{:?}", summary.tolls)
        };
        assert_eq!(
            (toll.metric, toll.ratio, toll.ci95),
            (TollMetric::Throughput, 0.8, None)
        );
    }
}
