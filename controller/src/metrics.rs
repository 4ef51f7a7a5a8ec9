//! What finished jobs and light rounds leave for Prometheus.
//!
//! Names and labels are promises of the design. `path` is a path's kind; zones are empty for a
//! static inventory. Nothing is measured here: a scrape shows the last results.

mod capped;
mod edges;
mod histograms;
mod mesh;
mod process;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nettoll_core::{
    api::{JobResult, LightRound},
    endpoint::{Endpoint, Path},
    exposition::{Format, Kind, Page, RTT_BOUNDS_NS, STAGE_BOUNDS_NS},
    hop::Direction,
    mesh::Accepted,
    report::{Round, Run, Stage, TestType},
    stacks::{Of, Query, StackTotals},
};

use tokio::sync::Semaphore;

use self::{
    capped::Capped,
    edges::{Edge, Known, KnownToll},
    histograms::{Histograms, Labels},
};
use crate::mesh::Mesh;

/// Requests for stacks that are answered at a time: connections and time must be left for scrapes.
const MAX_WAITING: usize = 2;
/// Most edges of finished jobs.
const MAX_EDGES: usize = 2_000;

/// All metrics.
pub(crate) struct Metrics {
    edges: Edges,
    recorded: Mutex<Recorded>,
    /// Places for requests that wait for stacks.
    waiting: Semaphore,
}

/// Whose edges have series of their own.
enum Edges {
    /// Nobody's, and nothing else is told but of the process: this instance does not lead.
    Hidden,
    /// Those of finished jobs.
    OfJobs,
    /// Those of the mesh, whose number has a budget; what users ask for on demand has none.
    OfMesh(Arc<Mesh>),
}

/// What was told so far.
struct Recorded {
    rtt: Histograms,
    stages: Histograms,
    edges: Capped<Edge, Known>,
    /// Seconds by path, network and component.
    component_cpu: BTreeMap<(&'static str, String, String), f64>,
    /// By test and outcome.
    tests: BTreeMap<(&'static str, &'static str), u64>,
    /// Samples by path.
    stacks: Arc<StackTotals>,
}

impl Metrics {
    /// The edges are those of finished jobs.
    pub(crate) fn new() -> Self {
        Self::of(Edges::OfJobs)
    }

    /// The edges are those of a mesh.
    pub(crate) fn with_mesh(mesh: Arc<Mesh>) -> Self {
        Self::of(Edges::OfMesh(mesh))
    }

    /// Those of the process alone: of an instance that does not lead.
    pub(crate) fn of_process() -> Self {
        Self::of(Edges::Hidden)
    }

    fn of(edges: Edges) -> Self {
        Self {
            edges,
            waiting: Semaphore::new(MAX_WAITING),
            recorded: Mutex::new(Recorded {
                rtt: Histograms::new(
                    "nettoll_rtt_seconds",
                    "Round-trip times of requests (path_cost: one way)",
                    &RTT_BOUNDS_NS,
                ),
                stages: Histograms::new(
                    "nettoll_stage_latency_seconds",
                    "Times that packets spent in a stage",
                    &STAGE_BOUNDS_NS,
                ),
                edges: Capped::new(MAX_EDGES),
                component_cpu: BTreeMap::new(),
                tests: BTreeMap::new(),
                stacks: Arc::default(),
            }),
        }
    }

    /// What a scrape gets.
    pub(crate) fn page(&self, format: Format) -> Vec<u8> {
        let mut page = Page::new(format);
        process::write(&mut page);
        match &self.edges {
            Edges::Hidden => {}
            Edges::OfJobs => {
                let recorded = self.recorded();
                recorded.write(&mut page);
                recorded.write_edges(&mut page);
            }
            Edges::OfMesh(mesh) => {
                self.recorded().write(&mut page);
                mesh::write(&mut page, mesh);
            }
        }
        page.finish()
    }

    /// What was sampled in finished jobs, since this instance leads or while a query waits; `None`
    /// where enough others ask.
    pub(crate) async fn stacks(&self, query: &Query) -> Option<Vec<u8>> {
        let _place = self.waiting.try_acquire().ok()?;
        let now = || Arc::clone(&self.recorded().stacks);
        let mut earlier = None;
        if let Some(seconds) = query.seconds {
            earlier = Some(now());
            tokio::time::sleep(Duration::from_secs(seconds.into())).await;
        }
        let (now, query) = (now(), query.clone());
        // Compressing takes a while, and the runtime's threads have others to serve.
        let page = move || now.page(&query, earlier.as_deref());
        tokio::task::spawn_blocking(page).await.ok()
    }

    /// The same as people read it.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.page(Format::Text)).unwrap()
    }

    /// Adds a finished job; `node` tells an endpoint's node.
    pub(crate) fn record(&self, result: &JobResult, node: impl Fn(&Endpoint) -> String) {
        let mut recorded = self.recorded();
        for run in &result.report.runs {
            recorded.count(run.test, if run.valid { "valid" } else { "invalid" });
            recorded.add_run(run);
            if let Some(known) = self.edge(&mut recorded, &run.path, run.test, &node) {
                add_to_edge(known, run);
            }
            let stacks = result.stacks.get(&run.id);
            if let Some(stacks) = stacks {
                let of = Of::run(&run.path, run.test);
                Arc::make_mut(&mut recorded.stacks).add(of, stacks);
            }
            let hz = stacks.map(|stacks| stacks.hz.max(1));
            for share in hz.and(run.components.as_ref()).into_iter().flatten() {
                let network = run.path.network.clone().unwrap_or_default();
                let key = (run.path.kind.as_str(), network, share.name.clone());
                let seconds = share.samples as f64 / f64::from(hz.unwrap_or(1));
                *recorded.component_cpu.entry(key).or_default() += seconds;
            }
        }
        for toll in &result.report.tolls {
            if Some(toll.baseline.kind) != toll.path.kind.baseline() {
                continue;
            }
            if let Some(known) = self.edge(&mut recorded, &toll.path, toll.test, &node) {
                let [low, high] = toll.ci95;
                let interval_ratio = Some((high / low).sqrt());
                let toll_known = KnownToll {
                    ratio: toll.ratio,
                    interval_ratio: interval_ratio.filter(|ratio| ratio.is_finite()),
                };
                known.tolls.insert(toll.metric.as_str(), toll_known);
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
        let mut recorded = self.recorded();
        recorded.count(test, "failed");
        if let Some(known) = self.edge(&mut recorded, path, test, &node) {
            known.up = Some(false);
        }
    }

    /// Adds a light round to the series of its zones.
    pub(crate) fn record_light(&self, accepted: &Accepted<'_>, round: &LightRound) {
        if round.rtt.count > 0 {
            let mean_ns = round.rtt.sum_ns as f64 / round.rtt.count as f64;
            let times = round.rtt.histogram.iter().copied();
            let labels = light_labels(accepted);
            self.recorded().rtt.add(labels, times, mean_ns);
        }
        self.record_light_stages(accepted, &round.stages);
    }

    /// Adds what a probe saw of a light round, and what is left for the wire: no histogram of that,
    /// but the mean, as often as there were requests.
    pub(crate) fn record_light_stages(&self, accepted: &Accepted<'_>, stages: &[Stage]) {
        let labels = light_labels(accepted);
        let mut recorded = self.recorded();
        recorded.add_stages(stages, &labels);
        if let Some(wire) = accepted.wire {
            let labels = stage_labels(&labels, "", Direction::Both, "wire", "");
            let buckets = [(wire.mean_ns as u64, wire.requests)];
            recorded
                .stages
                .add(labels, buckets.into_iter(), wire.mean_ns);
        }
    }

    /// A job's edge, if it has series and there is a place for it.
    fn edge<'a>(
        &self,
        recorded: &'a mut Recorded,
        path: &Path,
        test: TestType,
        node: &impl Fn(&Endpoint) -> String,
    ) -> Option<&'a mut Known> {
        let edge = match self.edges {
            Edges::OfJobs => Edge::new(path, test, node),
            Edges::Hidden | Edges::OfMesh(_) => return None,
        };
        recorded.edges.entry(edge, Known::default)
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorded {
    fn count(&mut self, test: TestType, outcome: &'static str) {
        *self.tests.entry((test.as_str(), outcome)).or_default() += 1;
    }

    /// Adds a run to the series of its zones, which a static inventory does not have.
    fn add_run(&mut self, run: &Run) {
        if !run.valid {
            return;
        }
        let labels: Labels = vec![
            ("path", run.path.kind.as_str().to_owned()),
            ("network", run.path.network.clone().unwrap_or_default()),
            ("from_zone", String::new()),
            ("to_zone", String::new()),
            ("test", run.test.as_str().to_owned()),
        ];
        self.add_stages(run.stages.iter().flatten(), &labels);
        if let Some(rtt) = &run.rtt_ns {
            self.rtt
                .add(labels, rtt.histogram.iter().copied(), rtt.mean);
        }
    }

    fn add_stages<'a>(&mut self, stages: impl IntoIterator<Item = &'a Stage>, labels: &Labels) {
        for stage in stages {
            let both = [&stage.histogram, &stage.histogram_many_segments];
            let buckets = both.into_iter().flatten().flatten().copied();
            if buckets.clone().next().is_none() {
                continue;
            }
            let side = stage.side.map_or("", |side| side.as_str());
            let kind = stage.device_kind.map_or("", |kind| kind.as_str());
            let labels = stage_labels(labels, side, stage.direction, stage_label(stage), kind);
            self.stages.add(labels, buckets, stage.mean_ns);
        }
    }

    fn write(&self, page: &mut Page) {
        self.rtt.write(page);
        self.stages.write(page);
        let help = "Additions to the histogram that had too many sets of labels";
        for (name, left_out) in [
            ("nettoll_rtt_left_out_total", self.rtt.left_out()),
            (
                "nettoll_stage_latency_left_out_total",
                self.stages.left_out(),
            ),
        ] {
            page.single(name, Kind::Counter, help, left_out as f64);
        }
        let mut family = page.family(
            "nettoll_component_cpu_seconds_total",
            Kind::Counter,
            "Sampled CPU time during runs by what the kernel was busy with",
        );
        for ((path, network, component), seconds) in &self.component_cpu {
            let labels = [
                ("path", *path),
                ("network", network),
                ("component", component),
            ];
            family.add(&labels, *seconds);
        }
        let mut family = page.family(
            "nettoll_tests_total",
            Kind::Counter,
            "Runs by how they ended",
        );
        for ((test, outcome), count) in &self.tests {
            family.add(&[("test", test), ("outcome", outcome)], *count as f64);
        }
    }

    fn write_edges(&self, page: &mut Page) {
        let edges: Vec<_> = self
            .edges
            .iter()
            .map(|(edge, known)| (edge.labels(), known))
            .collect();
        edges::write(page, &edges);
        page.single(
            "nettoll_edges_left_out_total",
            Kind::Counter,
            "Runs and tolls of edges that have no series, because there are too many",
            self.edges.left_out() as f64,
        );
    }
}

/// What a run says of its edge.
fn add_to_edge(known: &mut Known, run: &Run) {
    known.up = Some(run.valid);
    if run.rtt_ns.is_some() {
        let sum = |of: fn(&Round) -> Option<u64>| run.rounds.iter().filter_map(of).sum::<u64>();
        *known.requests.get_or_insert_default() += sum(|round| round.transactions);
        *known.lost.get_or_insert_default() += sum(|round| round.lost);
    }
    if !run.valid {
        return;
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    known.last_success_seconds = Some(now.as_secs_f64());
    known.closure = run.closure.or(known.closure);
    let bits = run.throughput_bits_per_second;
    known.bytes_per_second = bits.map(|bits| bits.mean / 8.0).or(known.bytes_per_second);
    let rtt = run.rtt_ns.as_ref();
    known.rtt_seconds = rtt
        .map(|rtt| [rtt.p50 / 1e9, rtt.p99 / 1e9])
        .or(known.rtt_seconds);
}

/// A stage that the derivation has no name for is called after its hops, with devices' names:
/// too many values for a label.
fn stage_label(stage: &Stage) -> &str {
    if stage.class.is_none() {
        "unknown"
    } else {
        &stage.stage
    }
}

fn light_labels(accepted: &Accepted<'_>) -> Labels {
    vec![
        ("path", accepted.path.as_str().to_owned()),
        ("network", accepted.network.to_owned()),
        ("from_zone", accepted.from_zone.to_owned()),
        ("to_zone", accepted.to_zone.to_owned()),
        ("test", accepted.test.as_str().to_owned()),
    ]
}

/// The labels of a path's stage.
fn stage_labels(
    path: &Labels,
    side: &str,
    direction: Direction,
    stage: &str,
    device_kind: &str,
) -> Labels {
    let mut labels = path.clone();
    labels.extend([
        ("side", side.to_owned()),
        ("direction", direction.as_str().to_owned()),
        ("stage", stage.to_owned()),
        ("device_kind", device_kind.to_owned()),
    ]);
    labels
}

#[cfg(test)]
pub(crate) mod tests;
