//! Stages in the order of the packet's way, added up and compared.

use nettoll_core::{
    hop::{Direction, Side},
    report::{Report, Run, Stage, StageClass, TestType},
};

use super::{comparisons, run, subject};

/// The runs whose stages are shown one by one: the subject's round trips, or where there are
/// none its other runs with stages, `path_cost` left out (it has a picture of its own).
pub(crate) fn waterfalls(report: &Report) -> Vec<&Run> {
    let subject = subject(report);
    let of_subject = |run: &&Run| Some(&run.path) == subject && has_stages(run);
    let round_trip = |run: &&Run| {
        matches!(
            run.test,
            TestType::TcpRr | TestType::UdpRr | TestType::HttpRr
        )
    };
    let trips: Vec<_> = report
        .runs
        .iter()
        .filter(of_subject)
        .filter(round_trip)
        .collect();
    if !trips.is_empty() {
        return trips;
    }
    let stream = |run: &&Run| run.test.is_stream();
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
    runs.sort_by(|a, b| {
        trip_mean(a)
            .unwrap_or(0.0)
            .total_cmp(&trip_mean(b).unwrap_or(0.0))
    });
    runs
}

/// The stages' names in the order of a packet's way, as the design's table has them.
const ORDER: [&str; 17] = [
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
    "socket_backlog",
    "socket_queue",
    "wakeup",
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

/// From the last device to the thread that reads.
const SOCKET: [&str; 4] = ["socket_rx", "socket_backlog", "socket_queue", "wakeup"];

/// What the sockets' owners do (waking up, answering) and what is left: it often takes ten times
/// as long as all that lies between the sockets.
pub(crate) fn is_owners(stage: &Stage) -> bool {
    let of_socket = SOCKET.contains(&stage.stage.as_str());
    of_socket || [RESPONDER, UNATTRIBUTED].contains(&stage.stage.as_str())
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
/// A stage with what it adds to one round trip (`path_cost`: one way).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed<'a> {
    pub(crate) stage: &'a Stage,
    /// Its total time over the number of requests: the mean where each request passes once.
    pub(crate) ns: f64,
}

/// The stages of a run in the packet's order, each with what it adds to a round trip. Streams have
/// none: there it is the mean of one `sk_buff`.
pub(crate) fn passed(run: &Run) -> Vec<Passed<'_>> {
    // Stages are of all rounds with the probe, also of those that are left out of other figures.
    let probed = run.rounds.iter().filter(|round| round.probe);
    let requests: u64 = probed.filter_map(|round| round.transactions).sum();
    let per_request = |packets: Option<u64>| match packets {
        Some(packets) if requests > 0 => packets as f64 / requests as f64,
        _ => 1.0,
    };
    let mut passed: Vec<_> = run
        .stages
        .iter()
        .flatten()
        .map(|stage| Passed {
            stage,
            ns: stage.mean_ns * per_request(stage.packets),
        })
        .collect();
    // The responder makes the response: it comes before all of it.
    let responder = passed
        .iter()
        .position(|passed| passed.stage.stage == RESPONDER);
    let response = passed
        .iter()
        .position(|passed| passed.stage.direction == Direction::Response);
    if let (Some(from), Some(to)) = (responder, response)
        && to < from
    {
        passed[to..=from].rotate_right(1);
    }
    passed
}

/// Mean time of a round trip (`path_cost`: one way) in the rounds that the stages are of; `None`
/// for streams.
pub(crate) fn trip_mean(run: &Run) -> Option<f64> {
    run.rtt_ns.as_ref()?;
    Some(passed(run).iter().map(|passed| passed.ns).sum())
}

/// Stages that follow each other in one direction and on one side.
#[derive(Debug)]
pub(crate) struct Leg<'a> {
    pub(crate) direction: Direction,
    /// `None` for what belongs to neither side.
    pub(crate) side: Option<Side>,
    pub(crate) stages: Vec<Passed<'a>>,
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

/// The legs of a run in the report's order, which is the packet's.
pub(crate) fn legs(run: &Run) -> Vec<Leg<'_>> {
    let mut legs: Vec<Leg<'_>> = Vec::new();
    for passed in passed(run) {
        let (direction, side) = (passed.stage.direction, passed.stage.side);
        match legs.last_mut() {
            Some(leg) if (leg.direction, leg.side) == (direction, side) => leg.stages.push(passed),
            _ => legs.push(Leg {
                direction,
                side,
                stages: vec![passed],
            }),
        }
    }
    legs
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
const UNATTRIBUTED: &str = "unattributed";
/// The name of the stage that is the server's own.
const RESPONDER: &str = "responder";

/// Adds up what the stages add to a round trip.
pub(crate) fn sums(run: &Run) -> Sums {
    let mut sums = Sums::default();
    for Passed { stage, ns } in passed(run) {
        let sum = match stage.class {
            Some(StageClass::Work) => &mut sums.work_ns,
            Some(StageClass::Wait) => &mut sums.wait_ns,
            Some(StageClass::Mixed) => &mut sums.mixed_ns,
            None if stage.stage == UNATTRIBUTED => &mut sums.unattributed_ns,
            None => &mut sums.unknown_ns,
        };
        *sum += ns;
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
    let total = |run: &Run, name: &str| stage_total(run, name).unwrap_or(0.0);
    let mut stages: Vec<_> = stage_names(&[path, baseline])
        .into_iter()
        .map(|name| (name, total(path, name) - total(baseline, name)))
        .collect();
    stages.sort_by(|a, b| b.1.total_cmp(&a.1));
    Some(Extra {
        total_ns: trip_mean(path)? - trip_mean(baseline)?,
        stages,
    })
}

/// What a run's stages of one name add to a round trip; `None` where it has none.
pub(crate) fn stage_total(run: &Run, name: &str) -> Option<f64> {
    let mut of_name = passed(run)
        .into_iter()
        .filter(|passed| passed.stage.stage == name)
        .peekable();
    of_name.peek()?;
    Some(of_name.map(|passed| passed.ns).sum())
}

fn has_stages(run: &Run) -> bool {
    run.stages.as_ref().is_some_and(|stages| !stages.is_empty())
}
