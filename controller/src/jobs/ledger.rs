//! Which runs the agents hold, so that none is left behind, however a job ends.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::JoinSet;

use crate::agents::{AgentError, Agents, Fault};

/// The runs of a job that agents were asked to prepare and not yet to delete.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<BTreeSet<(String, String)>>);

impl Ledger {
    /// To be called before the agent is asked: a request that is given up may have arrived.
    pub(super) fn note(&self, node: &str, run: &str) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert((node.to_owned(), run.to_owned()));
    }

    /// Deletes all noted runs, at all agents at once. An agent that does not answer ends its
    /// runs by itself after `RUN_IDLE_SECONDS`.
    pub(super) async fn delete_all(&self, agents: &Arc<Agents>) {
        let open = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut deletions = JoinSet::new();
        for (node, run) in open {
            let agents = Arc::clone(agents);
            deletions.spawn(async move {
                let Some(agent) = agents.of(&node) else {
                    return;
                };
                match agent.delete(&run).await {
                    // It never came to be there, or is gone already.
                    Err(AgentError {
                        fault: Fault::Refused { status: 404, .. },
                        ..
                    })
                    | Ok(()) => {}
                    Err(error) => tracing::warn!("cannot delete run {run}: {error}"),
                }
            });
        }
        deletions.join_all().await;
    }
}
