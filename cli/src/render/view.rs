//! What belongs together in a report: comparisons, the runs behind them, stages in groups.

use std::collections::BTreeMap;

use nettoll_core::{
    endpoint::{Path, PathKind},
    hop::{Direction, Side},
    report::{Report, Round, Run, Share, Stage, StageClass, TestType, Toll, TollMetric},
};

use super::units;

/// All tolls of one path against one baseline.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    pub(crate) path: &'a Path,
    pub(crate) baseline: &'a Path,
    pub(crate) tolls: Vec<&'a Toll>,
}

/// The comparisons, in the report's order, the headline's first.
pub(crate) fn comparisons(report: &Report) -> Vec<Comparison<'_>> {
    let mut groups: Vec<Comparison<'_>> = Vec::new();
    for toll in &report.tolls {
        let known = groups
            .iter_mut()
            .find(|group| *group.path == toll.path && *group.baseline == toll.baseline);
        match known {
            Some(group) => group.tolls.push(toll),
            None => groups.push(Comparison {
                path: &toll.path,
                baseline: &toll.baseline,
                tolls: vec![toll],
            }),
        }
    }
    // First what the report is about: the pod networks against the nodes' own, the network with
    // most tests before the others. The rest keeps its order.
    groups.sort_by_key(|group| {
        let kinds = (group.path.kind, group.baseline.kind);
        let main = kinds == (PathKind::PodToPod, PathKind::HostToHost);
        (
            !main,
            std::cmp::Reverse(if main { group.tolls.len() } else { 0 }),
        )
    });
    groups
}

/// The path that the report is about: the headline's, else the first run's.
pub(crate) fn subject(report: &Report) -> Option<&Path> {
    match comparisons(report).first() {
        Some(headline) => Some(headline.path),
        None => report.runs.first().map(|run| &run.path),
    }
}

/// A run by its id.
pub(crate) fn run<'a>(report: &'a Report, id: &str) -> Option<&'a Run> {
    report.runs.iter().find(|run| run.id == id)
}

/// The runs whose stages are shown one by one: the subject's round trips, or where there are
/// none its other runs with stages, `path_cost` left out (it has a picture of its own).
pub(crate) fn waterfalls(report: &Report) -> Vec<&Run> {
    let subject = subject(report);
    let of_subject = |run: &&Run| Some(&run.path) == subject && has_stages(run);
    let round_trip = |run: &&Run| matches!(run.test, TestType::TcpRr | TestType::UdpRr);
    let trips: Vec<_> = report
        .runs
        .iter()
        .filter(of_subject)
        .filter(round_trip)
        .collect();
    if !trips.is_empty() {
        return trips;
    }
    let stream = |run: &&Run| run.test == TestType::TcpStream;
    report
        .runs
        .iter()
        .filter(of_subject)
        .filter(stream)
        .collect()
}

/// The runs of `path_cost` with stages, from the cheapest path to the dearest.
pub(crate) fn path_costs(report: &Report) -> Vec<&Run> {
    let mut runs: Vec<_> = report
        .runs
        .iter()
        .filter(|run| run.test == TestType::PathCost && has_stages(run))
        .collect();
    let mean = |run: &Run| run.rtt_ns.as_ref().map_or(0.0, |rtt| rtt.mean);
    runs.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
    runs
}

/// The stages' names in the order of a packet's way, as the design's table has them.
const ORDER: [&str; 14] = [
    "socket_tx",
    "qdisc",
    "loopback",
    "veth",
    "backlog",
    "bridge",
    "forward",
    "encap",
    "driver",
    "wire",
    "decap",
    "gro_cells",
    "socket_rx",
    "responder",
];

/// The names of the stages that any of the runs has: known ones in the order of a packet's way,
/// then those of hops that the table does not know, then what is left.
pub(crate) fn stage_names<'a>(runs: &[&'a Run]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for stage in runs.iter().flat_map(|run| run.stages.iter().flatten()) {
        if !names.contains(&stage.stage.as_str()) {
            names.push(&stage.stage);
        }
    }
    let rank = |name: &str| {
        ORDER
            .iter()
            .position(|known| *known == name)
            .unwrap_or(ORDER.len())
    };
    names.sort_by_key(|name| (*name == UNATTRIBUTED, rank(name)));
    names
}

/// What the sockets' owners do (waking up, answering) and what is left: it often takes ten times
/// as long as all that lies between the sockets.
pub(crate) fn is_owners(stage: &Stage) -> bool {
    ["socket_rx", "responder", UNATTRIBUTED].contains(&stage.stage.as_str())
}

/// The longest mean of the stages between the sockets, of all where there are none.
pub(crate) fn longest_between_sockets(stages: &[Stage]) -> f64 {
    let longest = |owners: bool| {
        let some = stages.iter().filter(|stage| owners || !is_owners(stage));
        some.map(|stage| stage.mean_ns).fold(0.0, f64::max)
    };
    let between = longest(false);
    if between > 0.0 {
        between
    } else {
        longest(true)
    }
}

/// Where the extra time of a path's packets is, by `path_cost`.
#[derive(Debug)]
pub(crate) struct Extra<'a> {
    /// Mean of the path less mean of the baseline, both with the probe.
    pub(crate) total_ns: f64,
    /// By stage name, the largest first; negative where the baseline spends more.
    pub(crate) stages: Vec<(&'a str, f64)>,
}

/// The stages in which the headline's path spends more time than its baseline.
pub(crate) fn extra_stages(report: &Report) -> Option<Extra<'_>> {
    let groups = comparisons(report);
    let toll = groups
        .first()?
        .tolls
        .iter()
        .find(|toll| toll.test == TestType::PathCost)?;
    let (path, baseline) = (
        run(report, &toll.run_id)?,
        run(report, &toll.baseline_run_id)?,
    );
    if !has_stages(path) || !has_stages(baseline) {
        return None;
    }
    let mean = |run: &Run| run.rtt_ns.as_ref().map(|rtt| rtt.mean);
    let total = |run: &Run, name: &str| stage_total(run, name).unwrap_or(0.0);
    let mut stages: Vec<_> = stage_names(&[path, baseline])
        .into_iter()
        .map(|name| (name, total(path, name) - total(baseline, name)))
        .collect();
    stages.sort_by(|a, b| b.1.total_cmp(&a.1));
    Some(Extra {
        total_ns: mean(path)? - mean(baseline)?,
        stages,
    })
}

/// The mean times of a run's stages of one name, added up; `None` where it has none.
pub(crate) fn stage_total(run: &Run, name: &str) -> Option<f64> {
    let mut of_name = run
        .stages
        .iter()
        .flatten()
        .filter(|stage| stage.stage == name)
        .peekable();
    of_name.peek()?;
    Some(of_name.map(|stage| stage.mean_ns).sum())
}

fn has_stages(run: &Run) -> bool {
    run.stages.as_ref().is_some_and(|stages| !stages.is_empty())
}

/// A stream's run with sampled CPU, and its baseline's.
pub(crate) struct CpuPair<'a> {
    pub(crate) path: &'a Run,
    pub(crate) baseline: Option<&'a Run>,
}

/// The subject's sampled stream, else any sampled run of the subject.
pub(crate) fn cpu_pair(report: &Report) -> Option<CpuPair<'_>> {
    let subject = subject(report)?;
    let sampled = |run: &&Run| run.components.as_ref().is_some_and(|all| !all.is_empty());
    let path = report
        .runs
        .iter()
        .filter(|run| run.path == *subject)
        .filter(sampled)
        .min_by_key(|run| run.test != TestType::TcpStream)?;
    let baseline = comparisons(report)
        .first()
        .and_then(|headline| {
            headline
                .tolls
                .iter()
                .find(|toll| toll.run_id == path.id)
                .copied()
        })
        .and_then(|toll| run(report, &toll.baseline_run_id))
        .filter(sampled)
        .filter(|baseline| baseline.id != path.id);
    Some(CpuPair { path, baseline })
}

/// The figures of a toll's two runs: geometric means over the pairs of good rounds without the
/// probe (with it, where there are no others), so that their ratio is the toll's.
pub(crate) fn values(report: &Report, toll: &Toll) -> Option<(f64, f64)> {
    let (path, baseline) = (
        run(report, &toll.run_id)?,
        run(report, &toll.baseline_run_id)?,
    );
    let pairs_with = |probe: bool| -> Vec<(f64, f64)> {
        let good = |round: &&Round| round.probe == probe && round.invalid_reason.is_none();
        let figure = |round: &Round| round_figure(round, toll.metric).filter(|value| *value > 0.0);
        path.rounds
            .iter()
            .filter(good)
            .filter_map(|round| {
                let other = baseline
                    .rounds
                    .iter()
                    .filter(good)
                    .find(|o| o.pair == round.pair)?;
                Some((figure(round)?, figure(other)?))
            })
            .collect()
    };
    let mut pairs = pairs_with(false);
    if pairs.is_empty() {
        pairs = pairs_with(true);
    }
    let mean = |sum: f64| (sum / pairs.len() as f64).exp();
    (!pairs.is_empty()).then(|| {
        (
            mean(pairs.iter().map(|(path, _)| path.ln()).sum()),
            mean(pairs.iter().map(|(_, baseline)| baseline.ln()).sum()),
        )
    })
}

/// What a toll's metric is in one round, in base units.
fn round_figure(round: &Round, metric: TollMetric) -> Option<f64> {
    match metric {
        TollMetric::Throughput => round.throughput_bits_per_second,
        TollMetric::Transactions => round.transactions.map(|count| count as f64 / round.seconds),
        TollMetric::RttMean | TollMetric::PathCost => round.rtt_mean_ns,
        TollMetric::RttP50 => round.rtt_p50_ns,
        TollMetric::CpuNsPerByte => match (round.cpu_busy_seconds, round.bytes) {
            (Some(seconds), Some(bytes)) if bytes > 0 => Some(seconds * 1e9 / bytes as f64),
            _ => None,
        },
    }
}

/// A metric's figure for people.
pub(crate) fn figure(metric: TollMetric, value: f64) -> String {
    match metric {
        TollMetric::Throughput => units::bit_rate(value),
        TollMetric::Transactions => format!("{} /s", units::digits(value)),
        TollMetric::RttMean | TollMetric::RttP50 | TollMetric::PathCost => units::time(value),
        TollMetric::CpuNsPerByte => format!("{} ns/B", units::digits(value)),
    }
}

/// The interval of [`Toll::overhead_percent`], in percent, low end first.
pub(crate) fn overhead_interval(toll: &Toll) -> [f64; 2] {
    let [low, high] = toll.ci95;
    if toll.metric.higher_is_better() {
        [(1.0 - high) * 100.0, (1.0 - low) * 100.0]
    } else {
        [(low - 1.0) * 100.0, (high - 1.0) * 100.0]
    }
}

/// Stages in the order of the packet's way, in groups of one direction and side.
#[derive(Debug)]
pub(crate) struct Leg<'a> {
    pub(crate) direction: Direction,
    /// `None` for what belongs to neither side.
    pub(crate) side: Option<Side>,
    pub(crate) stages: Vec<&'a Stage>,
}

impl Leg<'_> {
    /// `request, client node`.
    pub(crate) fn title(&self) -> String {
        match self.side {
            Some(side) => format!("{}, {} node", self.direction.as_str(), side.as_str()),
            None => "no side".to_owned(),
        }
    }
}

/// The legs of a run: request on the client's node, request on the server's, response on the
/// server's, response on the client's, and what belongs to none. Within a leg the report's own
/// order holds, which is the packet's.
pub(crate) fn legs(stages: &[Stage]) -> Vec<Leg<'_>> {
    use Direction::{Both, Request, Response};
    let order = [
        (Request, Some(Side::Client)),
        (Request, Some(Side::Server)),
        (Response, Some(Side::Server)),
        (Response, Some(Side::Client)),
        (Both, Some(Side::Client)),
        (Both, Some(Side::Server)),
        (Request, None),
        (Response, None),
        (Both, None),
    ];
    order
        .into_iter()
        .map(|(direction, side)| Leg {
            direction,
            side,
            stages: stages
                .iter()
                .filter(|stage| stage.direction == direction && stage.side == side)
                .collect(),
        })
        .filter(|leg| !leg.stages.is_empty())
        .collect()
}

/// Times of a run's stages, added up by class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    pub(crate) work_ns: f64,
    pub(crate) wait_ns: f64,
    pub(crate) mixed_ns: f64,
    /// Observed between hops that the table does not know.
    pub(crate) unknown_ns: f64,
    pub(crate) unattributed_ns: f64,
}

/// The name of the stage that is what no other stage explains.
pub(crate) const UNATTRIBUTED: &str = "unattributed";

/// Adds up the stages' mean times.
pub(crate) fn sums(stages: &[Stage]) -> Sums {
    let mut sums = Sums::default();
    for stage in stages {
        let sum = match stage.class {
            Some(StageClass::Work) => &mut sums.work_ns,
            Some(StageClass::Wait) => &mut sums.wait_ns,
            Some(StageClass::Mixed) => &mut sums.mixed_ns,
            None if stage.stage == UNATTRIBUTED => &mut sums.unattributed_ns,
            None => &mut sums.unknown_ns,
        };
        *sum += stage.mean_ns;
    }
    sums
}

/// The word for a stage's class.
pub(crate) fn class_word(stage: &Stage) -> &'static str {
    match stage.class {
        Some(StageClass::Work) => "work",
        Some(StageClass::Wait) => "wait",
        Some(StageClass::Mixed) => "mixed",
        None => "",
    }
}

/// The components that any of the two runs has, by the path's CPU time, the largest first;
/// `idle` last: it is no cost.
pub(crate) fn component_names<'a>(path: &'a Run, baseline: Option<&'a Run>) -> Vec<&'a str> {
    let mut all: Vec<&Share> = path.components.iter().flatten().collect();
    all.sort_by(|a, b| b.share.total_cmp(&a.share));
    let there = baseline
        .and_then(|run| run.components.as_ref())
        .into_iter()
        .flatten();
    all.extend(there);
    let mut names: Vec<&str> = Vec::new();
    for share in all.iter().filter(|share| share.samples > 0) {
        if !names.contains(&share.name.as_str()) {
            names.push(&share.name);
        }
    }
    names.sort_by_key(|name| *name == IDLE);
    names
}

/// A run's component of that name.
pub(crate) fn component<'a>(run: &'a Run, name: &str) -> Option<&'a Share> {
    run.components
        .iter()
        .flatten()
        .find(|share| share.name == name)
}

/// The component that is no work.
pub(crate) const IDLE: &str = "idle";

/// What the probe lost in all runs, by reason.
pub(crate) fn lost(report: &Report) -> BTreeMap<&str, u64> {
    let mut lost = BTreeMap::new();
    for (reason, count) in report.runs.iter().flat_map(|run| &run.probe.lost) {
        *lost.entry(reason.as_str()).or_default() += count;
    }
    lost
}

/// A region's CPU time by both measures, in ns per payload byte.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TwoMeasures<'a> {
    pub(crate) region: &'a Share,
    pub(crate) sampled_ns_per_byte: f64,
    /// 95 % interval by sampling.
    pub(crate) sampled_ci95: [f64; 2],
    /// Self time of the tunnel's transmit function; `None` where there is no such stage.
    pub(crate) exact_ns_per_byte: Option<f64>,
}

impl TwoMeasures<'_> {
    /// Whether the exact figure is inside the sampled one's interval.
    pub(crate) fn agree(&self) -> Option<bool> {
        let [low, high] = self.sampled_ci95;
        self.exact_ns_per_byte
            .map(|exact| (low..=high).contains(&exact))
    }
}

/// The regions of a run, each beside the exact measure of the stage of its name.
pub(crate) fn two_measures(run: &Run) -> Vec<TwoMeasures<'_>> {
    let stages = run.stages.as_deref().unwrap_or_default();
    let measure = |region| two_measures_of(region, stages);
    run.regions.iter().flatten().filter_map(measure).collect()
}

fn two_measures_of<'a>(region: &'a Share, stages: &[Stage]) -> Option<TwoMeasures<'a>> {
    let sampled = region.ns_per_byte?;
    if region.share <= 0.0 {
        return None;
    }
    // The stream's payload is in the requests; a second tunnel on the way adds up.
    let exact: Vec<_> = stages
        .iter()
        .filter(|stage| stage.stage == region.name && stage.direction == Direction::Request)
        .filter_map(|stage| stage.cpu_ns_per_byte)
        .collect();
    Some(TwoMeasures {
        region,
        sampled_ns_per_byte: sampled,
        sampled_ci95: region.share_ci95.map(|end| sampled * end / region.share),
        exact_ns_per_byte: (!exact.is_empty()).then(|| exact.iter().sum()),
    })
}

/// One name that tells the nodes' kernel from others: equal boot ids are one kernel.
pub(crate) fn one_kernel(report: &Report) -> bool {
    let mut ids = report.context.nodes.iter().map(|node| &node.boot_id);
    match ids.next() {
        Some(first) => report.context.nodes.len() > 1 && ids.all(|id| id == first),
        None => false,
    }
}

/// The runs that must not be averaged in, with their reasons.
pub(crate) fn invalid(report: &Report) -> Vec<&Run> {
    report.runs.iter().filter(|run| !run.valid).collect()
}
