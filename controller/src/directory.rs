//! What there is to measure with at one moment: nodes, endpoints, and the agents that reach them.

use std::sync::Arc;

use nettoll_core::api::Inventory;

use crate::agents::Agents;

/// An inventory and the agents of its nodes. A job keeps the one that it was planned with.
pub(crate) struct Known {
    /// The nodes and pods.
    pub(crate) inventory: Inventory,
    /// The agents of these nodes.
    pub(crate) agents: Arc<Agents>,
}

/// Where jobs learn what there is.
pub(crate) trait Directory: Send + Sync {
    /// As of now.
    fn now(&self) -> Arc<Known>;
}

/// A static inventory: it never changes.
impl Directory for Arc<Known> {
    fn now(&self) -> Arc<Known> {
        Arc::clone(self)
    }
}
