//! What finished jobs leave for Prometheus.
//!
//! Names and labels are promises of the design. `path` is a path's kind; zones are empty for a
//! static inventory. Nothing is measured here: a scrape shows the last results.

mod histogram;
mod labels;
mod mesh;
mod process;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{SystemTime, UNIX_EPOCH},
};

use nettoll_core::{
    api::{JobResult, LightRound},
    endpoint::{Endpoint, Path},
    mesh::Accepted,
    report::{Run, Stage, TestType},
};
use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use self::{
    histogram::{Histograms, Labels, RTT_BOUNDS_NS, STAGE_BOUNDS_NS},
    labels::{Component, Edge, EdgeMetric, Outcome, edge, stage_label},
    mesh::MeshCollector,
    process::Process,
};
use crate::mesh::Mesh;

/// The type of the text that [`Metrics::text`] gives.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type FloatGauge = Gauge<f64, AtomicU64>;
type FloatCounter = Counter<f64, AtomicU64>;

/// All metrics.
pub(crate) struct Metrics {
    registry: Registry,
    /// Finished jobs have series of their own for each edge. Where there is a mesh, the edges are
    /// its: what users ask for on demand has no bound.
    edges_of_jobs: bool,
    rtt: Arc<Histograms>,
    stages: Arc<Histograms>,
    up: Family<Edge, Gauge>,
    rtt_p50: Family<Edge, FloatGauge>,
    rtt_p99: Family<Edge, FloatGauge>,
    requests: Family<Edge, Counter>,
    lost: Family<Edge, Counter>,
    toll_ratio: Family<EdgeMetric, FloatGauge>,
    closure_ratio: Family<Edge, FloatGauge>,
    last_success: Family<Edge, FloatGauge>,
    throughput: Family<Edge, FloatGauge>,
    component_cpu: Family<Component, FloatCounter>,
    tests: Family<Outcome, Counter>,
}

impl Metrics {
    /// Empty families; the edges are those of finished jobs.
    pub(crate) fn new() -> Self {
        Self::empty(true).registered().with_edges_of_jobs()
    }

    /// The same where the edges are those of a mesh.
    pub(crate) fn with_mesh(mesh: Arc<Mesh>) -> Self {
        let mut metrics = Self::empty(false).registered();
        metrics
            .registry
            .register_collector(Box::new(MeshCollector(mesh)));
        metrics
    }

    fn empty(edges_of_jobs: bool) -> Self {
        Self {
            registry: Registry::default(),
            edges_of_jobs,
            rtt: Arc::new(Histograms::new(
                "nettoll_rtt_seconds",
                "Round-trip times of requests (path_cost: one way)",
                &RTT_BOUNDS_NS,
            )),
            stages: Arc::new(Histograms::new(
                "nettoll_stage_latency_seconds",
                "Times that packets spent in a stage",
                &STAGE_BOUNDS_NS,
            )),
            up: Family::default(),
            rtt_p50: Family::default(),
            rtt_p99: Family::default(),
            requests: Family::default(),
            lost: Family::default(),
            toll_ratio: Family::default(),
            closure_ratio: Family::default(),
            last_success: Family::default(),
            throughput: Family::default(),
            component_cpu: Family::default(),
            tests: Family::default(),
        }
    }

    /// Those of the process alone: of an instance that does not lead.
    pub(crate) fn of_process() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        Self {
            registry,
            ..Self::new()
        }
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register_collector(Box::new(Process));
        registry.register_collector(Box::new(Arc::clone(&self.rtt)));
        registry.register_collector(Box::new(Arc::clone(&self.stages)));
        registry.register(
            "nettoll_component_cpu_seconds",
            "Sampled CPU time during runs by what the kernel was busy with",
            self.component_cpu.clone(),
        );
        registry.register(
            "nettoll_tests",
            "Runs by how they ended",
            self.tests.clone(),
        );
        self
    }

    fn with_edges_of_jobs(mut self) -> Self {
        let registry = &mut self.registry;
        let mut gauge = |name, help, family: &Family<Edge, FloatGauge>| {
            registry.register(name, help, family.clone());
        };
        gauge(
            "nettoll_rtt_p50_seconds",
            "Median of the last run's round-trip times",
            &self.rtt_p50,
        );
        gauge(
            "nettoll_rtt_p99_seconds",
            "99th percentile of the last run",
            &self.rtt_p99,
        );
        gauge(
            "nettoll_closure_ratio",
            "Sum of the mean stage times over the mean round-trip time of the last run",
            &self.closure_ratio,
        );
        gauge(
            "nettoll_last_success_timestamp_seconds",
            "When the last valid run ended, in Unix time",
            &self.last_success,
        );
        gauge(
            "nettoll_throughput_bytes_per_second",
            "Payload of the last stream",
            &self.throughput,
        );
        registry.register(
            "nettoll_up",
            "1 where the last run was valid, else 0",
            self.up.clone(),
        );
        registry.register("nettoll_requests", "Requests made", self.requests.clone());
        registry.register(
            "nettoll_lost",
            "Requests without an answer",
            self.lost.clone(),
        );
        registry.register(
            "nettoll_toll_ratio",
            "Path over baseline in the last comparison",
            self.toll_ratio.clone(),
        );
        self
    }

    /// The exposition, OpenMetrics 1.0.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail, and no collector of ours gives up.
        if text::encode(&mut out, &self.registry).is_err() {
            tracing::error!("the metrics cannot be encoded");
        }
        out
    }

    /// Adds a finished job; `node` tells an endpoint's node.
    pub(crate) fn record(&self, result: &JobResult, node: impl Fn(&Endpoint) -> String) {
        for run in &result.report.runs {
            let edge = edge(&run.path, run.test, &node);
            self.record_run(run, &edge);
            if let (Some(components), Some(stacks)) = (&run.components, result.stacks.get(&run.id))
            {
                for share in components {
                    let labels = Component {
                        path: run.path.kind.as_str(),
                        network: run.path.network.clone().unwrap_or_default(),
                        component: share.name.clone(),
                    };
                    let seconds = share.samples as f64 / f64::from(stacks.hz.max(1));
                    self.component_cpu.get_or_create(&labels).inc_by(seconds);
                }
            }
        }
        for toll in &result.report.tolls {
            if self.edges_of_jobs && Some(toll.baseline.kind) == toll.path.kind.baseline() {
                let edge = edge(&toll.path, toll.test, &node);
                let labels = EdgeMetric {
                    edge,
                    metric: toll.metric.as_str(),
                };
                self.toll_ratio.get_or_create(&labels).set(toll.ratio);
            }
        }
    }

    /// Counts a test that ended without a result.
    pub(crate) fn record_failure(
        &self,
        path: &Path,
        test: TestType,
        node: impl Fn(&Endpoint) -> String,
    ) {
        if self.edges_of_jobs {
            self.up.get_or_create(&edge(path, test, &node)).set(0);
        }
        self.count(test, "failed");
    }

    /// Adds a light round to the series of its zones.
    pub(crate) fn record_light(&self, accepted: &Accepted<'_>, round: &LightRound) {
        let labels: Labels = vec![
            ("path", accepted.path.as_str().to_owned()),
            ("network", accepted.network.to_owned()),
            ("from_zone", accepted.from_zone.to_owned()),
            ("to_zone", accepted.to_zone.to_owned()),
            ("test", TestType::UdpRr.as_str().to_owned()),
        ];
        if round.rtt.count > 0 {
            let mean_ns = round.rtt.sum_ns as f64 / round.rtt.count as f64;
            self.rtt.add(labels.clone(), &round.rtt.histogram, mean_ns);
        }
        self.record_stages(&round.stages, &labels);
    }

    fn count(&self, test: TestType, outcome: &'static str) {
        self.tests
            .get_or_create(&Outcome {
                test: test.as_str(),
                outcome,
            })
            .inc();
    }

    fn record_run(&self, run: &Run, edge: &Edge) {
        self.count(run.test, if run.valid { "valid" } else { "invalid" });
        if self.edges_of_jobs {
            self.record_edge(run, edge);
        }
        if !run.valid {
            return;
        }
        let labels: Labels = vec![
            ("path", edge.path.to_owned()),
            ("network", edge.network.clone()),
            ("from_zone", edge.from_zone.to_owned()),
            ("to_zone", edge.to_zone.to_owned()),
            ("test", edge.test.to_owned()),
        ];
        if let Some(rtt) = &run.rtt_ns {
            self.rtt.add(labels.clone(), &rtt.histogram, rtt.mean);
        }
        self.record_stages(run.stages.iter().flatten(), &labels);
    }

    fn record_edge(&self, run: &Run, edge: &Edge) {
        self.up.get_or_create(edge).set(run.valid.into());
        let sum = |of: fn(&nettoll_core::report::Round) -> Option<u64>| {
            run.rounds.iter().filter_map(of).sum::<u64>()
        };
        if run.rtt_ns.is_some() {
            self.requests
                .get_or_create(edge)
                .inc_by(sum(|round| round.transactions));
            self.lost
                .get_or_create(edge)
                .inc_by(sum(|round| round.lost));
        }
        if !run.valid {
            return;
        }
        let set = |family: &Family<Edge, FloatGauge>, value: Option<f64>| {
            if let Some(value) = value {
                family.get_or_create(edge).set(value);
            }
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        set(&self.last_success, Some(now.as_secs_f64()));
        set(&self.closure_ratio, run.closure);
        set(
            &self.throughput,
            run.throughput_bits_per_second.map(|bits| bits.mean / 8.0),
        );
        set(&self.rtt_p50, run.rtt_ns.as_ref().map(|rtt| rtt.p50 / 1e9));
        set(&self.rtt_p99, run.rtt_ns.as_ref().map(|rtt| rtt.p99 / 1e9));
    }

    fn record_stages<'a>(&self, stages: impl IntoIterator<Item = &'a Stage>, labels: &Labels) {
        for stage in stages {
            let of = |histogram: &Option<Vec<(u64, u64)>>| histogram.clone().unwrap_or_default();
            let mut buckets = of(&stage.histogram);
            buckets.extend(of(&stage.histogram_many_segments));
            if buckets.is_empty() {
                continue;
            }
            let kind = stage.device_kind.map_or("", |kind| kind.as_str());
            let mut labels = labels.clone();
            labels.extend([
                (
                    "side",
                    stage.side.map_or("", |side| side.as_str()).to_owned(),
                ),
                ("direction", stage.direction.as_str().to_owned()),
                ("stage", stage_label(stage).to_owned()),
                ("device_kind", kind.to_owned()),
            ]);
            self.stages.add(labels, &buckets, stage.mean_ns);
        }
    }
}

#[cfg(test)]
mod tests;
