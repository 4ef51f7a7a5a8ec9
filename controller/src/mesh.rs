//! The always-on mesh: brings each agent its part of the plan, fetches its rounds, and keeps what
//! they say for the metrics.
//!
//! What is planned and what follows from rounds is `nettoll-core`'s; here are clocks, connections
//! and tasks. Each node's agent has a task of its own ([`member`]), so that one that does not answer
//! holds up no other. An agent that is not heard of makes its edges stale, never
//! wrong: they vanish from the metrics. Once a day each pair has a stream ([`streams`]), which is a
//! job like any other.

mod member;
mod streams;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nettoll_core::mesh::{Plan, Round, Settings, State};
use tokio::{sync::watch, task::AbortHandle, time::MissedTickBehavior};

use crate::{agents::Agent, metrics::Metrics};

/// How often the cluster is looked at for changes.
const TICK: Duration = Duration::from_secs(1);
/// A node whose agent is away for so long is no member any more.
const RETIRE_AFTER: Duration = Duration::from_secs(600);
/// Rounds may have ended before this process began: its clock starts here.
const EPOCH_MS: u64 = 3_600_000;

/// Where the mesh is.
pub(crate) trait Ground: Send + Sync + 'static {
    /// Grows with every change of the members.
    fn generation(&self) -> u64;
    /// The plan for the cluster as it is.
    fn plan(&self, settings: &Settings) -> Plan;
    /// The agent of a node.
    fn agent(&self, node: &str, address: SocketAddr) -> Arc<Agent>;
    /// A node's agent stays away.
    fn retire(&self, node: &str);
}

/// What is planned and known.
pub(crate) struct Mesh {
    begin: Instant,
    settings: watch::Sender<Settings>,
    state: Mutex<State>,
    /// Counts plans: who waits for a next one watches it.
    plans: watch::Sender<u64>,
    rounds: [AtomicU64; Round::ALL.len()],
    missed: AtomicU64,
    /// Members whose agent answered last time it was asked.
    answering: Mutex<BTreeSet<String>>,
}

/// For the metrics: how the mesh itself fares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// Rounds by what became of them.
    pub(crate) rounds: Vec<(&'static str, u64)>,
    /// Rounds that agents no longer had.
    pub(crate) missed: u64,
    /// Members whose agent answers, and all others.
    pub(crate) members: [usize; 2],
    /// Pairs with series of their own, measured ones without, and those that budgets left out.
    pub(crate) pairs: [usize; 3],
}

impl Mesh {
    /// Nothing is planned yet.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            begin: Instant::now(),
            settings: watch::Sender::new(settings),
            state: Mutex::default(),
            plans: watch::Sender::new(0),
            rounds: Default::default(),
            missed: AtomicU64::new(0),
            answering: Mutex::default(),
        }
    }

    /// Plans by other settings from now on.
    pub(crate) fn set(&self, settings: Settings) {
        self.settings.send_if_modified(|known| {
            let new = *known != settings;
            *known = settings;
            new
        });
    }

    /// What is known; not to be held across anything that waits.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The time of the state's clock.
    pub(crate) fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        EPOCH_MS.saturating_add(passed)
    }

    /// How the mesh fares.
    pub(crate) fn health(&self) -> Health {
        let rounds = Round::ALL.iter().zip(&self.rounds);
        let (members, pairs) = {
            let state = self.state();
            let plan = state.plan();
            let unexported = plan.unexported();
            let exported = plan.pairs().len() - unexported;
            (
                plan.members().len(),
                [exported, unexported, plan.left_out()],
            )
        };
        let answering = self.answering().len().min(members);
        Health {
            rounds: rounds
                .map(|(round, count)| (round.as_str(), count.load(Ordering::Relaxed)))
                .collect(),
            missed: self.missed.load(Ordering::Relaxed),
            members: [answering, members - answering],
            pairs,
        }
    }

    /// Keeps the mesh going for as long as the future is polled; its tasks end with it.
    pub(crate) async fn run(
        self: Arc<Self>,
        ground: Arc<dyn Ground>,
        metrics: Arc<Metrics>,
    ) -> Infallible {
        let mut tasks = Tasks::default();
        let mut away = BTreeMap::new();
        let mut planned = None;
        let mut settings = self.settings.subscribe();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let generation = ground.generation();
            let other_settings = settings.has_changed().unwrap_or(false);
            if planned != Some(generation) || other_settings {
                settings.mark_unchanged();
                self.replan(&ground).await;
                planned = Some(generation);
                tasks.follow(&self, &ground, &metrics);
            }
            for node in self.retired(&mut away) {
                tracing::info!(node, "no agent for {RETIRE_AFTER:?}: no member any more");
                ground.retire(&node);
            }
        }
    }

    async fn replan(&self, ground: &Arc<dyn Ground>) {
        let (ground, settings) = (Arc::clone(ground), self.settings.borrow().clone());
        // Some ten milliseconds in a large cluster.
        let Ok(plan) = tokio::task::spawn_blocking(move || ground.plan(&settings)).await else {
            tracing::error!("the mesh was not planned");
            return;
        };
        let (members, pairs, left_out) =
            (plan.members().len(), plan.pairs().len(), plan.left_out());
        self.state().replan(plan);
        self.plans.send_modify(|plans| *plans += 1);
        tracing::debug!(members, pairs, left_out, "planned the mesh");
    }

    /// Members that have been without an agent for too long.
    fn retired(&self, away: &mut BTreeMap<String, Instant>) -> Vec<String> {
        let missing: BTreeSet<String> = {
            let state = self.state();
            let members = state.plan().members().iter();
            let without = members.filter(|member| member.agent.is_none());
            without.map(|member| member.name.clone()).collect()
        };
        away.retain(|node, _| missing.contains(node));
        let due = |node: &String| {
            let since = *away.entry(node.clone()).or_insert_with(Instant::now);
            since.elapsed() >= RETIRE_AFTER
        };
        missing.into_iter().filter(due).collect()
    }

    fn answering(&self) -> MutexGuard<'_, BTreeSet<String>> {
        lock(&self.answering)
    }

    fn count(&self, round: Round) {
        let at = Round::ALL.iter().position(|known| *known == round);
        if let Some(counter) = at.and_then(|at| self.rounds.get(at)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Locks whatever a panicking task left behind: all these values are whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The agents' tasks, by node. They end when this is dropped, and the agents go on: the next leader
/// takes them over.
#[derive(Default)]
struct Tasks(HashMap<String, AbortHandle>);

impl Tasks {
    /// Begins those of new nodes, ends those of nodes that are gone: an agent that goes on there ends
    /// its rounds by itself, after the plan's `idle_seconds`.
    fn follow(&mut self, mesh: &Arc<Mesh>, ground: &Arc<dyn Ground>, metrics: &Arc<Metrics>) {
        let names: BTreeSet<String> = {
            let state = mesh.state();
            let plan = state.plan();
            let agents = plan.members().iter().chain(plan.bystanders());
            agents.map(|member| member.name.clone()).collect()
        };
        self.0.retain(|node, task| {
            let stays = names.contains(node);
            if !stays {
                task.abort();
                mesh.answering().remove(node);
            }
            stays
        });
        for node in names {
            self.0.entry(node).or_insert_with_key(|node| {
                let attending = member::Attending::new(
                    node.clone(),
                    Arc::clone(mesh),
                    Arc::clone(ground),
                    Arc::clone(metrics),
                );
                tokio::spawn(attending.run()).abort_handle()
            });
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.values().for_each(AbortHandle::abort);
    }
}
