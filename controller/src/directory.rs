//! What there is to measure with at one moment: nodes, endpoints, and the agents that reach them.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use nettoll_core::api::{Inventory, Job};

use crate::agents::Agents;

/// An inventory and the agents of its nodes. A job keeps the one that it was planned with.
pub(crate) struct Known {
    /// The nodes and pods.
    pub(crate) inventory: Inventory,
    /// The agents of these nodes.
    pub(crate) agents: Arc<Agents>,
}

/// Why what a job names cannot be measured with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// It is not there, or not as it must be.
    #[error("{0}")]
    Unfit(String),
    /// It could not be looked up.
    #[error("{0}")]
    Unknown(String),
}

/// Where jobs learn what there is.
pub(crate) trait Directory: Send + Sync {
    /// As of now.
    fn now(&self) -> Arc<Known>;

    /// As of now, with whatever else a job names.
    fn for_job<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Arc<Known>, DirectoryError>>;
}

/// A static inventory: it never changes, and has all that can be named.
impl Directory for Arc<Known> {
    fn now(&self) -> Arc<Known> {
        Arc::clone(self)
    }

    fn for_job<'a>(&'a self, _: &'a Job) -> BoxFuture<'a, Result<Arc<Known>, DirectoryError>> {
        ready(Ok(self.now())).boxed()
    }
}
