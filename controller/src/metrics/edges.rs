//! The series of edges. Jobs and the mesh tell the same of theirs, under the same names.

use std::{borrow::Borrow, collections::BTreeMap};

use nettoll_core::{
    endpoint::{Endpoint, Path},
    exposition::{Kind, Label, Page},
    report::TestType,
};

/// The labels of an edge.
pub(super) type EdgeLabels<'a> = [Label<'a>; 7];

/// An edge of finished jobs: from node to node, by one test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    path: &'static str,
    network: String,
    from_node: String,
    to_node: String,
    test: &'static str,
}

impl Edge {
    /// `node` tells an endpoint's node.
    pub(super) fn new(path: &Path, test: TestType, node: &impl Fn(&Endpoint) -> String) -> Self {
        Self {
            path: path.kind.as_str(),
            network: path.network.clone().unwrap_or_default(),
            from_node: node(&path.from),
            to_node: node(&path.to),
            test: test.as_str(),
        }
    }

    /// A static inventory has no zones.
    pub(super) fn labels(&self) -> EdgeLabels<'_> {
        [
            ("path", self.path),
            ("network", &self.network),
            ("from_node", &self.from_node),
            ("to_node", &self.to_node),
            ("from_zone", ""),
            ("to_zone", ""),
            ("test", self.test),
        ]
    }
}

/// What is told of an edge. What is not known has no series.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) up: Option<bool>,
    /// Median and 99th percentile.
    pub(super) rtt_seconds: Option<[f64; 2]>,
    pub(super) requests: Option<u64>,
    pub(super) lost: Option<u64>,
    /// In Unix time.
    pub(super) last_success_seconds: Option<f64>,
    pub(super) closure: Option<f64>,
    pub(super) path_mtu_ok: Option<bool>,
    pub(super) bytes_per_second: Option<f64>,
    /// By what is compared.
    pub(super) tolls: BTreeMap<&'static str, KnownToll>,
}

/// A toll of an edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownToll {
    /// Path over baseline.
    pub(super) ratio: f64,
    /// The 95 % interval is from `ratio` over this to `ratio` times this.
    pub(super) interval_ratio: Option<f64>,
}

/// A family, and its value of an edge.
type Row = (&'static str, Kind, &'static str, fn(&Known) -> Option<f64>);

const FAMILIES: [Row; 9] = [
    (
        "nettoll_up",
        Kind::Gauge,
        "Mesh: 1 where requests are answered, 0 after three rounds without an answer; jobs: 1 \
         where the last run was valid",
        |known| known.up.map(|up| f64::from(u8::from(up))),
    ),
    (
        "nettoll_rtt_p50_seconds",
        Kind::Gauge,
        "Median round-trip time of the last 10 to 19 rounds, or of the last valid run",
        |known| known.rtt_seconds.map(|[p50, _]| p50),
    ),
    (
        "nettoll_rtt_p99_seconds",
        Kind::Gauge,
        "99th percentile of the same",
        |known| known.rtt_seconds.map(|[_, p99]| p99),
    ),
    (
        "nettoll_requests_total",
        Kind::Counter,
        "Requests made",
        |known| known.requests.map(|requests| requests as f64),
    ),
    (
        "nettoll_lost_total",
        Kind::Counter,
        "Requests without an answer",
        |known| known.lost.map(|lost| lost as f64),
    ),
    (
        "nettoll_last_success_timestamp_seconds",
        Kind::Gauge,
        "When the last round with an answer or the last valid run ended, in Unix time",
        |known| known.last_success_seconds,
    ),
    (
        "nettoll_closure_ratio",
        Kind::Gauge,
        "Sum of the mean stage times over the mean round-trip time; mesh: with the wire as \
         host-to-host has it, median of the last 10 rounds that both probes followed",
        |known| known.closure,
    ),
    (
        "nettoll_path_mtu_ok",
        Kind::Gauge,
        "1 where packets as large as the path claims come through, 0 where they do not",
        |known| known.path_mtu_ok.map(|ok| f64::from(u8::from(ok))),
    ),
    (
        "nettoll_throughput_bytes_per_second",
        Kind::Gauge,
        "Payload of the last stream",
        |known| known.bytes_per_second,
    ),
];

/// The same of a toll.
type TollRow = (&'static str, &'static str, fn(&KnownToll) -> Option<f64>);

const TOLL_FAMILIES: [TollRow; 2] = [
    (
        "nettoll_toll_ratio",
        "Path over baseline: mean of the mesh's last pairs of rounds, or of the last comparison",
        |toll| Some(toll.ratio),
    ),
    (
        "nettoll_toll_interval_ratio",
        "The 95 % interval of nettoll_toll_ratio: from it divided by this to it times this",
        |toll| toll.interval_ratio,
    ),
];

/// Writes the series of all edges.
pub(super) fn write<K: Borrow<Known>>(page: &mut Page, edges: &[(EdgeLabels<'_>, K)]) {
    for (name, kind, help, value) in FAMILIES {
        let mut family = page.family(name, kind, help);
        for (labels, known) in edges {
            if let Some(value) = value(known.borrow()) {
                family.add(labels, value);
            }
        }
    }
    for (name, help, value) in TOLL_FAMILIES {
        let mut family = page.family(name, Kind::Gauge, help);
        for (labels, known) in edges {
            let [path, network, from_node, to_node, from_zone, to_zone, test] = *labels;
            for (metric, toll) in &known.borrow().tolls {
                let metric = ("metric", *metric);
                let labels = [
                    path, network, from_node, to_node, from_zone, to_zone, test, metric,
                ];
                if let Some(value) = value(toll) {
                    family.add(&labels, value);
                }
            }
        }
    }
}
