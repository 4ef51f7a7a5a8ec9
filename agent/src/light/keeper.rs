//! Keeps to the plan: opens what it names, lets each edge's rounds begin in time, and turns what
//! came of them into results. All that may be slow is done on this thread, a little before the
//! [pacer](super::pacer) needs it.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use nettoll_core::api::{LightEdge, LightPlan};

use super::{
    LEAD_NS, Shared,
    board::Board,
    edge::{Edge, Outcome},
    lock,
    pacer::{Job, Pacer},
    responders::Responders,
    round::Pace,
    schedule::Times,
    sockets::Sockets,
    watches::Watches,
};
use crate::{path::Node, runs::Runs, traffic::now_ns};

/// Between two looks after the responders.
const LOOK: Duration = Duration::from_secs(5);

/// What the keeper hears.
#[derive(Debug)]
pub(super) enum Event {
    /// From now on this plan.
    Plan(Box<LightPlan>),
    /// A round is over.
    Done(Box<Job>),
    /// Another agent announced a round.
    Announced,
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
        let board = Arc::new(Board::new(events.clone()));
        let kept = Kept {
            pacer: Pacer::start(events.clone())?,
            responders: Responders::new(Arc::clone(&board)),
            watches: Watches::new(board),
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

/// The thread's own.
struct Kept {
    pacer: Pacer,
    responders: Responders,
    watches: Watches,
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
                Ok(Event::Announced) => {
                    let pace = Pace::of(&self.plan);
                    (self.watches).begin(pace, &self.node, &self.runs, &self.shared);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.responders.look(&self.node, &self.shared, LOOK);
            self.watches.end_due(&self.node, &self.shared);
            self.begin_due();
        }
    }

    /// Until there is something to do.
    fn until_next(&self) -> Duration {
        let waiting = self.edges.values().filter(|edge| edge.is_idle());
        let ready_ns = waiting.map(|edge| edge.next_ns.saturating_sub(LEAD_NS));
        let until_ns = ready_ns.chain(self.watches.until_ns()).min();
        let left = until_ns.map(|until_ns| until_ns.saturating_sub(now_ns()));
        left.map_or(LOOK, |ns| Duration::from_nanos(ns).min(LOOK))
    }

    fn times(&self, edge: &LightEdge) -> Times {
        times(&self.shared, &self.plan, edge)
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
        self.watches.change(&plan, &self.shared);
        lock(&self.shared.path_mtus).keep(|id| plan.edges.iter().any(|edge| edge.id == id));
        let mut before = std::mem::take(&mut self.edges);
        self.plan = plan;
        let now = now_ns();
        for edge in &self.plan.edges {
            let known = before.remove(&edge.id);
            let kept = known.filter(|known| !all_new && known.edge == *edge);
            let edge = kept.unwrap_or_else(|| Edge::new(edge.clone(), self.times(edge).first(now)));
            self.edges.insert(edge.edge.id.clone(), edge);
        }
    }

    fn begin_due(&mut self) {
        let ready_ns = now_ns() + LEAD_NS;
        let due = |edge: &&Edge| edge.is_idle() && edge.next_ns <= ready_ns;
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
        let token = self.token();
        let (node, runs) = (&self.node, &self.runs);
        match edge.begin(token, &self.plan, &mut self.sockets, node, runs) {
            Ok(job) => self.pacer.begin(job),
            Err(why) => {
                self.shared.add(now_ns(), edge.failed(why));
                edge.next_ns = self.times(&edge.edge).after(now_ns().max(edge.next_ns));
            }
        }
    }

    fn done(&mut self, job: Job) {
        let now = now_ns();
        let token = self.token();
        let ours = |edge: &&mut Edge| edge.is_at(job.token);
        let Some(edge) = self.edges.values_mut().find(ours) else {
            return;
        };
        match edge.done(job, &self.node) {
            Some(Outcome::Round(round)) => {
                let answered = round.failed.is_none() && round.answered > 0;
                self.shared.add(now, round);
                edge.next_ns = times(&self.shared, &self.plan, &edge.edge).after(now);
                if !answered {
                    return;
                }
                match edge.begin_mtu_test(token, &mut self.sockets, &self.node) {
                    Ok(job) => job.into_iter().for_each(|job| self.pacer.begin(job)),
                    Err(why) => tracing::debug!("no test of a path's MTU: {why}"),
                }
            }
            Some(Outcome::MtuTest(test)) => {
                lock(&self.shared.path_mtus).put(&edge.edge.id, now, test);
            }
            None => {}
        }
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }
}

fn times(shared: &Shared, plan: &LightPlan, edge: &LightEdge) -> Times {
    Times {
        anchor_ns: shared.instance,
        period_ms: plan.period_ms,
        offset_ms: edge.offset_ms,
    }
}
