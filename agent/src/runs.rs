//! The runs of this agent: from a [`RunSpec`] to a [`RunSide`], one round at a time.
//!
//! All methods block for as long as what they do takes; call them from a thread that may.

use std::collections::BTreeMap;

use nettoll_core::{
    api::{FlowTuple, Prepared, RoundSide, RoundSpec, RunSide, RunSpec},
    endpoint::Endpoint,
};

use crate::metrics::Totals;

/// Why a request about a run was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// There is no such run.
    #[error(
        "this agent has no run '{0}'; it was deleted, reaped after 30 s of silence, or never prepared"
    )]
    Unknown(String),
}

impl RunError {
    /// The HTTP status that says the same.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Unknown(_) => 404,
        }
    }
}

/// The runs.
#[derive(Debug)]
pub(crate) struct Runs {}

impl Runs {
    /// No runs yet. `places` names the network namespace (under `/run/netns`) of each endpoint
    /// of this node; the node itself is in the agent's own.
    pub(crate) fn new(_node: String, _places: BTreeMap<Endpoint, String>) -> Self {
        Self {}
    }

    /// Opens the run's sockets: the server listens, the client is bound.
    pub(crate) fn prepare(&self, spec: RunSpec) -> Result<Prepared, RunError> {
        Err(RunError::Unknown(spec.id))
    }

    /// Tells the server whose flow it serves.
    pub(crate) fn flow(&self, id: &str, _flow: FlowTuple) -> Result<(), RunError> {
        Err(RunError::Unknown(id.to_owned()))
    }

    /// Connects the client and warms the connection up.
    pub(crate) fn start(&self, id: &str) -> Result<(), RunError> {
        Err(RunError::Unknown(id.to_owned()))
    }

    /// A round's first mark.
    pub(crate) fn begin(&self, id: &str, _round: RoundSpec) -> Result<(), RunError> {
        Err(RunError::Unknown(id.to_owned()))
    }

    /// The round's traffic.
    pub(crate) fn run(&self, id: &str, _round: RoundSpec) -> Result<RoundSide, RunError> {
        Err(RunError::Unknown(id.to_owned()))
    }

    /// The round's last mark.
    pub(crate) fn end(&self, id: &str) -> Result<RoundSide, RunError> {
        Err(RunError::Unknown(id.to_owned()))
    }

    /// What the run's rounds with the probe gave.
    pub(crate) fn finish(&self, id: &str) -> Result<RunSide, RunError> {
        Err(RunError::Unknown(id.to_owned()))
    }

    /// Ends the run in whatever state it is and frees all that it holds.
    pub(crate) fn delete(&self, id: &str) -> Result<(), RunError> {
        Err(RunError::Unknown(id.to_owned()))
    }

    /// Deletes the runs that nobody has spoken of for
    /// [`nettoll_core::api::RUN_IDLE_SECONDS`]; call it every few seconds.
    pub(crate) fn reap(&self) {}

    /// Deletes all runs: the agent ends. Rounds that run return soon.
    pub(crate) fn delete_all(&self) {}

    /// Why runs have no probe, `None` where they can have one.
    pub(crate) fn probe_unavailable(&self) -> Option<String> {
        Some("not yet".to_owned())
    }

    /// Why runs have no samples, `None` where they can have them.
    pub(crate) fn profile_unavailable(&self) -> Option<String> {
        Some("not yet".to_owned())
    }

    /// What all runs counted since the agent began: those that ended, and those that live so
    /// far. Nothing in it ever gets less.
    pub(crate) fn totals(&self) -> Totals {
        Totals::default()
    }
}
