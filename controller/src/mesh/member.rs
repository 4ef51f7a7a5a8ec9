//! What the controller has to do with one node's agent: bring the plan when it changes, fetch rounds.
//!
//! An agent of a node that is not in the mesh has a plan, too: to do nothing. The leader before may have
//! left it with another one.

use std::{sync::Arc, time::Duration};

use nettoll_core::{
    api::{LightResults, MAX_LIGHT_ROUNDS_PER_ANSWER},
    mesh::Round,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Ground, Mesh};
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

/// A node and how far the talk with its agent is.
pub(super) struct Attending {
    node: String,
    mesh: Arc<Mesh>,
    ground: Arc<dyn Ground>,
    metrics: Arc<Metrics>,
    plans: watch::Receiver<u64>,
    /// Which plan which agent took.
    taken: Option<Wanted>,
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
    ) -> Self {
        let plans = mesh.plans.subscribe();
        Self {
            node,
            mesh,
            ground,
            metrics,
            plans,
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
                    Ok(()) if order.is_of_mesh() && Instant::now() >= due => self.ask(&order).await,
                    told => told,
                };
                if self.settle(&order, asked) {
                    if Instant::now() >= due {
                        due = Instant::now() + order.poll;
                    }
                } else {
                    due = Instant::now() + RETRY;
                }
            } else {
                self.mesh.answering().remove(&self.node);
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
        let (member, version) = state.order(&self.node)?;
        let address = member.agent?;
        let uid = member.agent_uid.clone();
        let half = Duration::from_millis(u64::from(state.plan().period_ms()) / 2);
        drop(state);
        Some(Order {
            agent: self.ground.agent(&self.node, address),
            wanted: Wanted { uid, version },
            poll: POLL.min(half),
        })
    }

    /// Brings the plan, unless the agent has it. It is made for those that have another one alone.
    async fn tell(&mut self, order: &Order) -> Result<(), AgentError> {
        if self.taken.as_ref() != Some(&order.wanted) {
            self.taken = None;
            let plan = self.mesh.state().light(&self.node).unwrap_or_default();
            order.agent.put_light(&plan).await?;
            self.taken = Some(order.wanted.clone());
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
            if results.version != order.wanted.version {
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
    fn settle(&mut self, order: &Order, asked: Result<(), AgentError>) -> bool {
        match &asked {
            Ok(()) => {
                if self.failing {
                    tracing::info!(node = self.node, "the mesh's agent answers again");
                }
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!("the mesh goes on without {error}");
                }
            }
        }
        self.failing = asked.is_err();
        if order.is_of_mesh() && !self.failing {
            self.mesh.answering().insert(self.node.clone());
        } else {
            self.mesh.answering().remove(&self.node);
        }
        !self.failing
    }
}

/// What an agent has to do.
struct Order {
    agent: Arc<Agent>,
    wanted: Wanted,
    /// Twice a period, so that an edge that goes down is seen soon after its third round.
    poll: Duration,
}

impl Order {
    /// The agent has rounds to make and to answer.
    fn is_of_mesh(&self) -> bool {
        self.wanted.version.is_some()
    }
}

/// Which plan which agent shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    /// Of the agent's pod: another one has no plan yet.
    uid: Option<String>,
    /// The plan's version; `None` of one with nothing to do.
    version: Option<String>,
}

#[cfg(test)]
mod tests;
