//! Light rounds: the little traffic that never ends, by a plan that the controller puts and the
//! agent goes on with by itself.
//!
//! One thread [keeps](keeper) the plan and does what may be slow, one [sends and
//! receives](pacer) in all open rounds, and each [responder] has one of its own; there are none
//! before the first plan. Sockets are inside the endpoints' network namespaces. Those of UDP are bound
//! to the ports of the plan, so that both sides know the flows without talking; over TCP each round
//! has a [connection] of its own, which an [echo] answers. Finished rounds wait in
//! a bounded ring for the controller to fetch them.
//!
//! Where the plan wants the probe in an edge's rounds, each is announced to the responder, whose
//! agent's probe follows it too (the [board] and the [watches]): so the stages of both nodes are of
//! the same requests, without a common clock.
//!
//! Runs come first: while there is one, light rounds go without the probe ([`crate::runs`]).

mod board;
mod connection;
mod echo;
mod edge;
mod keeper;
mod message;
mod pacer;
mod path_mtu;
mod responder;
mod responders;
mod results;
mod round;
mod route;
mod schedule;
mod sockets;
#[cfg(test)]
mod tests;
mod wait;
mod watches;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use nettoll_core::api::{
    LightPathMtu, LightPlan, LightPlanError, LightResults, LightRound, LightWatched,
};

use self::{
    keeper::Keeper,
    responders::Fares,
    results::{Latest, Results},
};
use crate::{path::Node, runs::Runs, traffic::now_ns};

/// So long before a round begins its socket and the probes of both sides are made ready.
const LEAD_NS: u64 = 100_000_000;

/// Why a plan is refused or cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LightError {
    /// It is out of bounds.
    #[error(transparent)]
    Plan(#[from] LightPlanError),
    /// The kernel has no thread for it.
    #[error("cannot begin with light rounds: {0}")]
    Start(#[from] io::Error),
}

impl LightError {
    /// The HTTP status that fits.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Plan(_) => 400,
            Self::Start(_) => 500,
        }
    }
}

/// The light traffic of this agent.
#[derive(Debug)]
pub(crate) struct Light {
    node: Arc<Node>,
    runs: Arc<Runs>,
    shared: Arc<Shared>,
    kept: Mutex<Kept>,
}

/// What there is while there is a plan.
#[derive(Debug)]
struct Kept {
    keeper: Option<Keeper>,
    version: Option<String>,
    edges: usize,
    /// How long it goes on without news of the controller.
    idle: Duration,
    /// When the controller was last heard of.
    heard: Instant,
}

/// What the threads leave for the API and the metrics.
#[derive(Debug)]
struct Shared {
    /// When the agent began, which no other start of it has.
    instance: u64,
    results: Mutex<Results>,
    responders: Mutex<Vec<Fares>>,
    watched: Mutex<Latest<LightWatched>>,
    path_mtus: Mutex<Latest<LightPathMtu>>,
    /// Requests that were answered for others.
    answers: Arc<AtomicU64>,
    rounds: AtomicU64,
    failed_rounds: AtomicU64,
    answered: AtomicU64,
    lost: AtomicU64,
}

impl Shared {
    /// Adds a round that ended then.
    fn add(&self, ended_ns: u64, round: LightRound) {
        let rounds = match round.failed {
            None => &self.rounds,
            Some(_) => &self.failed_rounds,
        };
        rounds.fetch_add(1, Relaxed);
        self.answered.fetch_add(round.answered, Relaxed);
        self.lost.fetch_add(round.lost, Relaxed);
        lock(&self.results).push(ended_ns, round);
    }
}

/// What the light rounds did since the agent began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LightTotals {
    /// Edges of the plan.
    pub(crate) edges: u64,
    /// Rounds that say something about the network.
    pub(crate) rounds: u64,
    /// Rounds that do not.
    pub(crate) failed_rounds: u64,
    /// Requests with an answer.
    pub(crate) answered: u64,
    /// Requests without.
    pub(crate) lost: u64,
    /// Requests of other nodes that were answered.
    pub(crate) answers: u64,
}

impl Light {
    /// Nothing to do yet.
    pub(crate) fn new(node: Arc<Node>, runs: Arc<Runs>) -> Self {
        let shared = Shared {
            instance: now_ns(),
            results: Mutex::default(),
            responders: Mutex::default(),
            watched: Mutex::default(),
            path_mtus: Mutex::default(),
            answers: Arc::default(),
            rounds: AtomicU64::new(0),
            failed_rounds: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        };
        Self {
            node,
            runs,
            shared: Arc::new(shared),
            kept: Mutex::new(Kept {
                keeper: None,
                version: None,
                edges: 0,
                idle: Duration::ZERO,
                heard: Instant::now(),
            }),
        }
    }

    /// From now on this plan. One with nothing to do is none: nobody will speak of it again.
    pub(crate) fn put(&self, plan: LightPlan) -> Result<(), LightError> {
        plan.check()?;
        let mut kept = lock(&self.kept);
        if plan.responders.is_empty() && plan.edges.is_empty() {
            self.drop_plan(&mut kept);
            return Ok(());
        }
        kept.heard = Instant::now();
        kept.version = Some(plan.version.clone());
        kept.edges = plan.edges.len();
        kept.idle = Duration::from_secs(plan.idle_seconds.into());
        if let Some(keeper) = &kept.keeper
            && keeper.plan(plan.clone())
        {
            return Ok(());
        }
        let keeper = Keeper::start(&self.node, &self.runs, &self.shared)?;
        keeper.plan(plan);
        kept.keeper = Some(keeper);
        Ok(())
    }

    /// What came of it after that sequence.
    pub(crate) fn results(&self, after: u64) -> LightResults {
        let version = {
            let mut kept = lock(&self.kept);
            kept.heard = Instant::now();
            kept.version.clone()
        };
        let (missed, rounds, last) = {
            let results = lock(&self.shared.results);
            let (missed, rounds) = results.after(after, now_ns());
            (missed, rounds, results.last())
        };
        let responders = lock(&self.shared.responders);
        LightResults {
            version,
            instance: self.shared.instance,
            next: rounds.last().map_or(last, |round| round.sequence),
            missed,
            rounds,
            responders: responders.iter().map(Fares::state).collect(),
            watched: lock(&self.shared.watched).told(now_ns(), |round, age_ms| LightWatched {
                age_ms,
                ..round.clone()
            }),
            path_mtus: lock(&self.shared.path_mtus).told(now_ns(), |test, age_ms| LightPathMtu {
                age_ms,
                ..test.clone()
            }),
        }
    }

    /// Drops the plan if the controller was not heard of for too long; call it every few seconds.
    pub(crate) fn reap(&self) {
        let mut kept = lock(&self.kept);
        let idle = kept.heard.elapsed() >= kept.idle;
        if idle && kept.keeper.is_some() {
            tracing::warn!("no controller speaks of the light plan any more; it ends");
            self.drop_plan(&mut kept);
        }
    }

    /// Ends all light traffic.
    pub(crate) fn end(&self) {
        self.drop_plan(&mut lock(&self.kept));
    }

    fn drop_plan(&self, kept: &mut Kept) {
        // Joins the threads, closes the sockets.
        kept.keeper = None;
        kept.version = None;
        kept.edges = 0;
        lock(&self.shared.responders).clear();
        lock(&self.shared.watched).keep(|_| false);
        lock(&self.shared.path_mtus).keep(|_| false);
    }

    /// What was done since the agent began.
    pub(crate) fn totals(&self) -> LightTotals {
        let shared = &self.shared;
        LightTotals {
            edges: lock(&self.kept).edges as u64,
            rounds: shared.rounds.load(Relaxed),
            failed_rounds: shared.failed_rounds.load(Relaxed),
            answered: shared.answered.load(Relaxed),
            lost: shared.lost.load(Relaxed),
            answers: shared.answers.load(Relaxed),
        }
    }
}

/// Locks whatever a panicking thread left behind: all these values are whole at any time.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
