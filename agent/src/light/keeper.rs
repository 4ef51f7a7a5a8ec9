//! Keeps to the plan: opens what it names, lets each edge's rounds begin in time, and turns what
//! came of them into results. All that may be slow is done on this thread, a little before the
//! [pacer](super::pacer) needs it.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use nettoll_core::api::{LightEdge, LightPlan, LightRound, Times as RoundTrips};

use super::{
    Shared, message,
    pacer::{Job, Pacer, Probed},
    responders::Responders,
    round::{Pace, Round},
    schedule::Times,
    sockets::Sockets,
    watching::Route,
};
use crate::{
    netns::Netns,
    path::Node,
    runs::Runs,
    traffic::{header::run_hash, now_ns},
};

/// So long before a round begins its socket and the probe are made ready.
const LEAD_NS: u64 = 100_000_000;
/// So soon after it is made ready a round begins at the earliest.
const AT_ONCE_NS: u64 = 2_000_000;
/// Between two looks after the responders.
const LOOK: Duration = Duration::from_secs(5);
/// A request that is sent so late says nothing about the network any more.
const TOO_LATE_NS: u64 = 100_000_000;

/// What the keeper hears.
#[derive(Debug)]
pub(super) enum Event {
    /// From now on this plan.
    Plan(Box<LightPlan>),
    /// A round is over.
    Done(Box<Job>),
    /// It is time to end.
    End,
}

/// The thread, and what to tell it; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    events: Sender<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts with no plan.
    pub(super) fn start(
        node: &Arc<Node>,
        runs: &Arc<Runs>,
        shared: &Arc<Shared>,
    ) -> io::Result<Self> {
        let (events, heard) = channel();
        let kept = Kept {
            pacer: Pacer::start(events.clone())?,
            responders: Responders::default(),
            sockets: Sockets::default(),
            edges: BTreeMap::new(),
            plan: LightPlan::default(),
            tokens: 0,
            node: Arc::clone(node),
            runs: Arc::clone(runs),
            shared: Arc::clone(shared),
        };
        let thread = Builder::new()
            .name("nettoll-keeper".to_owned())
            .spawn(move || kept.run(&heard))?;
        Ok(Self {
            events,
            thread: Some(thread),
        })
    }

    /// From now on this plan. False: the thread is gone.
    pub(super) fn plan(&self, plan: LightPlan) -> bool {
        self.events.send(Event::Plan(Box::new(plan))).is_ok()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // It is gone already where this fails.
        let _ = self.events.send(Event::End);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that keeps the light plan panicked");
        }
    }
}

/// One edge of the plan.
#[derive(Debug)]
struct Edge {
    edge: LightEdge,
    /// When its next round begins.
    next_ns: u64,
    route: Route,
    /// The round that is open.
    open: Option<Opened>,
}

/// A round that the pacer has.
#[derive(Debug)]
struct Opened {
    /// An answer with another one is of an edge that was in an earlier plan.
    token: u64,
    netns: Netns,
    no_probe: Option<String>,
}

/// The thread's own.
struct Kept {
    pacer: Pacer,
    responders: Responders,
    sockets: Sockets,
    /// By id.
    edges: BTreeMap<String, Edge>,
    plan: LightPlan,
    tokens: u64,
    node: Arc<Node>,
    runs: Arc<Runs>,
    shared: Arc<Shared>,
}

impl Kept {
    fn run(mut self, events: &Receiver<Event>) {
        loop {
            match events.recv_timeout(self.until_next()) {
                Ok(Event::Plan(plan)) => self.change(*plan),
                Ok(Event::Done(job)) => self.done(*job),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.responders.look(&self.node, &self.shared, LOOK);
            self.begin_due();
        }
    }

    /// Until there is something to do.
    fn until_next(&self) -> Duration {
        let waiting = self.edges.values().filter(|edge| edge.open.is_none());
        let Some(next_ns) = waiting.map(|edge| edge.next_ns).min() else {
            return LOOK;
        };
        let left = next_ns.saturating_sub(now_ns() + LEAD_NS);
        Duration::from_nanos(left).min(LOOK)
    }

    fn times(&self, edge: &LightEdge) -> Times {
        Times {
            anchor_ns: self.shared.instance,
            period_ms: self.plan.period_ms,
            offset_ms: edge.offset_ms,
        }
    }

    /// Edges that are in both plans go on; the others' rounds are of no use any more.
    fn change(&mut self, plan: LightPlan) {
        let numbers = |plan: &LightPlan| {
            let pace = Pace::of(plan);
            (pace, plan.period_ms, plan.payload_bytes)
        };
        let all_new = numbers(&plan) != numbers(&self.plan);
        self.sockets.keep(&plan.edges);
        self.responders.change(&plan.responders, &self.shared);
        let mut before = std::mem::take(&mut self.edges);
        self.plan = plan;
        let now = now_ns();
        for edge in &self.plan.edges {
            let known = before.remove(&edge.id);
            let kept = known.filter(|known| !all_new && known.edge == *edge);
            let edge = kept.unwrap_or_else(|| Edge {
                edge: edge.clone(),
                next_ns: self.times(edge).first(now),
                route: Route::default(),
                open: None,
            });
            self.edges.insert(edge.edge.id.clone(), edge);
        }
    }

    fn begin_due(&mut self) {
        let ready_ns = now_ns() + LEAD_NS;
        let due = |edge: &&Edge| edge.open.is_none() && edge.next_ns <= ready_ns;
        let due: Vec<String> = (self.edges.values().filter(due))
            .map(|edge| edge.edge.id.clone())
            .collect();
        for id in due {
            if let Some(mut edge) = self.edges.remove(&id) {
                self.begin(&mut edge);
                self.edges.insert(id, edge);
            }
        }
    }

    fn begin(&mut self, edge: &mut Edge) {
        let (socket, netns) = match self.sockets.of(&edge.edge, &self.node) {
            Ok(opened) => opened,
            Err(error) => {
                self.shared.add(now_ns(), failed(&edge.edge, error));
                edge.next_ns = self.times(&edge.edge).after(now_ns().max(edge.next_ns));
                return;
            }
        };
        let (probe, no_probe) = match edge.edge.probe {
            true => match edge.route.watch(&edge.edge, &self.node, &self.runs) {
                Ok(probed) => (Some(probed), None),
                Err(why) => (None, Some(why)),
            },
            false => (None, None),
        };
        self.tokens += 1;
        let run = run_hash(&edge.edge.id);
        let start_ns = edge.next_ns.max(now_ns() + AT_ONCE_NS);
        self.pacer.begin(Job {
            token: self.tokens,
            socket,
            to: SocketAddr::new(edge.edge.to, edge.edge.to_port),
            run,
            request: message::request(run, self.plan.payload_bytes as usize),
            first_sequence: start_ns,
            round: Round::new(Pace::of(&self.plan), start_ns),
            probe,
            refused: None,
        });
        edge.open = Some(Opened {
            token: self.tokens,
            netns,
            no_probe,
        });
    }

    fn done(&mut self, job: Job) {
        let now = now_ns();
        let ours = |edge: &&mut Edge| {
            let open = edge.open.as_ref();
            open.is_some_and(|open| open.token == job.token)
        };
        let Some(edge) = self.edges.values_mut().find(ours) else {
            return;
        };
        let Some(open) = edge.open.take() else { return };
        let times = Times {
            anchor_ns: self.shared.instance,
            period_ms: self.plan.period_ms,
            offset_ms: edge.edge.offset_ms,
        };
        edge.next_ns = times.after(now);
        let tally = job.round.tally();
        let (stages, no_probe) = match job.probe {
            Some(Probed {
                watch, socket_rx, ..
            }) => match edge.route.stages(&edge.edge, &self.node, watch, &socket_rx) {
                Ok(stages) => (stages, None),
                Err(why) => (Vec::new(), Some(why)),
            },
            None => (Vec::new(), open.no_probe),
        };
        let why = if !open.netns.is_there() {
            Some(format!(
                "{} went away during the round",
                edge.edge.from.endpoint
            ))
        } else if tally.latest_ns > TOO_LATE_NS {
            let late_ms = tally.latest_ns / 1_000_000;
            Some(format!(
                "the agent did not run for {late_ms} ms of the round"
            ))
        } else {
            None
        };
        let round = LightRound {
            sent: tally.sent,
            answered: tally.answered,
            lost: tally.sent - tally.answered,
            rtt: tally.rtt,
            late_ns: tally.late_ns,
            refused: job.refused.map(|error| error.to_string()),
            stages,
            no_probe,
            failed: why,
            ..blank(&edge.edge)
        };
        self.shared.add(now, round);
    }
}

/// A round that could not be made.
fn failed(edge: &LightEdge, why: String) -> LightRound {
    LightRound {
        failed: Some(why),
        ..blank(edge)
    }
}

fn blank(edge: &LightEdge) -> LightRound {
    LightRound {
        sequence: 0,
        edge: edge.id.clone(),
        age_ms: 0,
        sent: 0,
        answered: 0,
        lost: 0,
        rtt: RoundTrips::default(),
        late_ns: 0,
        refused: None,
        stages: Vec::new(),
        no_probe: None,
        failed: None,
    }
}
