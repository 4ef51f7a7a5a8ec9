//! What the controller has to do with one member: bring the plan when it changes, fetch rounds.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use nettoll_core::{
    api::{LightPlan, LightResults, MAX_LIGHT_ROUNDS_PER_ANSWER},
    mesh::Round,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Ground, Mesh, lock};
use crate::{
    agents::{Agent, AgentError},
    metrics::Metrics,
};

/// The longest time between two questions.
const POLL: Duration = Duration::from_secs(15);
/// The same after one without an answer.
const RETRY: Duration = Duration::from_secs(5);
/// Most answers to one question: what an agent keeps, and some.
const MOST_ANSWERS: usize = 16;

/// The agent that a member's task has told a plan.
pub(super) type Told = Arc<Mutex<Option<Arc<Agent>>>>;

/// Tells an agent whose node is no member any more that it has nothing to do. One that does not
/// hear of it ends its rounds by itself, after the plan's `idle_seconds`.
pub(super) async fn dismiss(agent: Arc<Agent>) {
    if let Err(error) = agent.put_light(&LightPlan::default()).await {
        tracing::info!("it was not told that it is in the mesh no more: {error}");
    }
}

/// A member and how far the talk with its agent is.
pub(super) struct Attending {
    node: String,
    mesh: Arc<Mesh>,
    ground: Arc<dyn Ground>,
    metrics: Arc<Metrics>,
    plans: watch::Receiver<u64>,
    /// The agent that has a plan of this.
    told: Told,
    /// Which plan which agent took: its pod's UID, the plan's version.
    taken: Option<(Option<String>, String)>,
    /// Which start of the agent `after` is of.
    instance: Option<u64>,
    after: u64,
    /// It was told that the agent does not answer.
    failing: bool,
}

impl Attending {
    pub(super) fn new(
        node: String,
        mesh: Arc<Mesh>,
        ground: Arc<dyn Ground>,
        metrics: Arc<Metrics>,
        told: Told,
    ) -> Self {
        let plans = mesh.plans.subscribe();
        Self {
            node,
            mesh,
            ground,
            metrics,
            plans,
            told,
            taken: None,
            instance: None,
            after: 0,
            failing: false,
        }
    }

    /// Goes on until it is ended.
    pub(super) async fn run(mut self) {
        let mut due = Instant::now() + POLL.min(RETRY);
        loop {
            self.plans.mark_unchanged();
            if let Some(order) = self.order() {
                let told = self.tell(&order).await;
                let asked = match told {
                    Ok(()) if Instant::now() >= due => self.ask(&order).await,
                    told => told,
                };
                if self.settle(asked) {
                    if Instant::now() >= due {
                        due = Instant::now() + order.poll();
                    }
                } else {
                    due = Instant::now() + RETRY;
                }
            } else {
                due = Instant::now() + RETRY;
            }
            tokio::select! {
                () = sleep_until(due) => {}
                // The mesh outlives its members' tasks.
                _ = self.plans.changed() => {}
            }
        }
    }

    fn order(&self) -> Option<Order> {
        let state = self.mesh.state();
        let (member, plan) = state.orders(&self.node)?;
        let address = member.agent?;
        let uid = member.agent_uid.clone();
        drop(state);
        let agent = self.ground.agent(&self.node, address);
        Some(Order { agent, uid, plan })
    }

    /// Brings the plan, unless the agent has it.
    async fn tell(&mut self, order: &Order) -> Result<(), AgentError> {
        let wanted = Some((order.uid.clone(), order.plan.version.clone()));
        if self.taken != wanted {
            self.taken = None;
            *lock(&self.told) = Some(Arc::clone(&order.agent));
            order.agent.put_light(&order.plan).await?;
            self.taken = wanted;
        }
        Ok(())
    }

    /// Fetches all rounds that there are.
    async fn ask(&mut self, order: &Order) -> Result<(), AgentError> {
        for _ in 0..MOST_ANSWERS {
            let results = order.agent.light(self.after).await?;
            if self.instance != Some(results.instance) {
                let from_begin = self.after == 0;
                self.instance = Some(results.instance);
                if !from_begin {
                    self.after = 0;
                    continue;
                }
            }
            if results.version.as_ref() != Some(&order.plan.version) {
                // It began anew, or heard of nobody for too long.
                self.taken = None;
            }
            self.after = results.next;
            self.take(&results);
            if results.rounds.len() < MAX_LIGHT_ROUNDS_PER_ANSWER {
                break;
            }
        }
        self.tell(order).await
    }

    fn take(&self, results: &LightResults) {
        let missed = &self.mesh.missed;
        missed.fetch_add(results.missed, std::sync::atomic::Ordering::Relaxed);
        let now_ms = self.mesh.now_ms();
        let mut state = self.mesh.state();
        for round in &results.rounds {
            let (judged, accepted) = state.take(&self.node, round, now_ms);
            if let Some(accepted) = accepted {
                self.metrics.record_light(&accepted, round);
            }
            if judged == Round::Failed {
                let why = round.failed.as_deref().unwrap_or("nothing was sent");
                tracing::debug!(
                    node = self.node,
                    edge = round.edge,
                    "a light round failed: {why}"
                );
            }
            self.mesh.count(judged);
        }
        for test in &results.path_mtus {
            state.take_path_mtu(&self.node, test, now_ms);
        }
        for watched in &results.watched {
            if let Some(accepted) = state.take_watched(&self.node, watched) {
                self.metrics.record_light_stages(&accepted, &watched.stages);
            } else if let Some(why) = &watched.no_probe {
                tracing::debug!(
                    node = self.node,
                    edge = watched.edge,
                    "no stages of the node that answers: {why}"
                );
            }
        }
    }

    /// Says once that the agent does not answer, and once that it does again.
    fn settle(&mut self, asked: Result<(), AgentError>) -> bool {
        match &asked {
            Ok(()) => {
                if self.failing {
                    tracing::info!(node = self.node, "the mesh's agent answers again");
                }
                self.mesh.answering().insert(self.node.clone());
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!("the mesh goes on without {error}");
                }
                self.mesh.answering().remove(&self.node);
            }
        }
        self.failing = asked.is_err();
        !self.failing
    }
}

/// What an agent has to do.
struct Order {
    agent: Arc<Agent>,
    uid: Option<String>,
    plan: LightPlan,
}

impl Order {
    /// Twice a period, so that an edge that goes down is seen soon after its third round.
    fn poll(&self) -> Duration {
        POLL.min(Duration::from_millis(u64::from(self.plan.period_ms) / 2))
    }
}

#[cfg(test)]
mod tests;
