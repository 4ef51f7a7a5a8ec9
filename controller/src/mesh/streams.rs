//! The mesh's streams: short tests that the mesh itself asks for, one a day for each pair.
//!
//! Whose turn it is and what it may take is `nettoll-core`'s. A stream whose nodes have another
//! test, or are waited for, is left for a later look: who asks for a test comes first.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nettoll_core::{
    api::JobEvent,
    endpoint::PathKind,
    mesh::{Stream, StreamOrder},
    report::{Report, Run, TestType, TollMetric},
};
use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::Mesh;
use crate::jobs::{Hold, Jobs, brief};

/// How often it is looked whose time has come.
const TICK: Duration = Duration::from_secs(1);
/// Most streams at once in the whole cluster.
const AT_ONCE: usize = 16;

impl Mesh {
    /// Has the streams run for as long as the future is polled; what runs ends with it.
    pub(crate) async fn stream(self: Arc<Self>, jobs: Arc<Jobs>) -> Infallible {
        let mut running = JoinSet::new();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            while running.try_join_next().is_some() {}
            let unix = SystemTime::now().duration_since(UNIX_EPOCH);
            let unix_ms = unix.unwrap_or_default().as_millis() as u64;
            let due = {
                let mut state = self.state();
                state.call_streams(unix_ms);
                state.due_streams(self.now_ms())
            };
            for order in due {
                if running.len() == AT_ONCE {
                    break;
                }
                let nodes = [&order.from, &order.to].map(|member| member.name.clone());
                if let Ok(hold) = jobs.reserve_now(BTreeSet::from(nodes)) {
                    self.state().begin_stream(order.pair);
                    running.spawn(Arc::clone(&self).stream_once(Arc::clone(&jobs), hold, order));
                }
            }
        }
    }

    async fn stream_once(self: Arc<Self>, jobs: Arc<Jobs>, hold: Arc<Hold>, order: StreamOrder) {
        let (from, to) = (&order.from.name, &order.to.name);
        let report = match streamed(jobs, &hold, &order).await {
            Ok(report) => Some(report),
            Err(why) => {
                tracing::warn!(from, to, "no stream, the next one is in a day: {why}");
                None
            }
        };
        let result = report.as_ref().map(figures);
        let bits = report.as_ref().map_or(0, bits);
        tracing::debug!(from, to, ?result, "a stream");
        let now_ms = self.now_ms();
        self.state().end_stream(&order, result, bits, now_ms);
    }
}

/// The report of a stream between the pods of a pair, with that between its nodes.
async fn streamed(
    jobs: Arc<Jobs>,
    hold: &Arc<Hold>,
    order: &StreamOrder,
) -> Result<Report, String> {
    let (Some(from), Some(to)) = (&order.from.pod, &order.to.pod) else {
        return Err("one of the nodes has no endpoint pod".to_owned());
    };
    let test = TestType::TcpStream;
    let job = brief(&from.endpoint, &to.endpoint, test, order.seconds);
    let known = jobs.known();
    let events = jobs.submit_on(hold, job, known);
    let mut events = events.map_err(|error| error.to_string())?;
    while let Some(event) = events.recv().await {
        match event {
            JobEvent::Done(result) => return Ok(result.report),
            JobEvent::Failed { message, .. } => return Err(message),
            JobEvent::Planned { .. } | JobEvent::Progress { .. } | JobEvent::Warning { .. } => {}
        }
    }
    Err("the job ended without a result".to_owned())
}

fn figures(report: &Report) -> Stream {
    let good = |kind: PathKind| {
        let mut runs = report.runs.iter();
        runs.find(|run| run.path.kind == kind && run.valid)
    };
    let bytes = |run: &Run| Some(run.throughput_bits_per_second?.mean / 8.0);
    let [host, pods] = [PathKind::HostToHost, PathKind::PodToPod].map(good);
    let toll = report.tolls.iter().find(|toll| {
        toll.metric == TollMetric::Throughput && toll.baseline.kind == PathKind::HostToHost
    });
    Stream {
        bytes_per_second: [host, pods].map(|run| run.and_then(bytes)),
        toll: toll
            .filter(|_| host.is_some() && pods.is_some())
            .map(|toll| toll.ratio),
    }
}

/// What all rounds carried.
fn bits(report: &Report) -> u64 {
    let rounds = report.runs.iter().flat_map(|run| &run.rounds);
    let bytes = rounds.filter_map(|round| round.bytes);
    bytes.fold(0, u64::saturating_add).saturating_mul(8)
}
