//! Why a request about a run was refused or failed.

use std::io;

use nettoll_core::{
    api::{LASTING, Role},
    endpoint::Endpoint,
};

use super::MAX_RUNS;
use crate::traffic::{PlanError, TrafficError};

/// Why a request about a run was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// There is no such run.
    #[error(
        "this agent has no run '{0}': it was never prepared, or deleted, or ended after 30 s of silence"
    )]
    Unknown(String),
    /// The id is taken.
    #[error("there is a run '{0}' already; choose another id or delete that run")]
    Exists(String),
    /// Too many of them.
    #[error("this agent holds {MAX_RUNS} runs already; delete some")]
    TooMany,
    /// What is asked for does not make sense.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No sampling without a rate.
    #[error("sample_hz is 0, but this agent shall sample; choose a rate")]
    SampleRate,
    /// An endpoint of somebody else.
    #[error("endpoint {0} is not on node {1}; ask the agent of its node")]
    Elsewhere(Endpoint, String),
    /// A round that is none.
    #[error("a round of {0} s is not possible; ask for more than 0 and at most {max} s", max = super::MAX_ROUND_SECONDS)]
    RoundLength(f64),
    /// A calibration of nothing.
    #[error("a round can calibrate the probe only with the probe: set both or none")]
    NothingToCalibrate,
    /// Not what this side does.
    #[error("run '{id}': the {role:?} cannot {what}")]
    NotMine {
        /// Which run.
        id: String,
        /// This agent's part in it.
        role: Role,
        /// What was asked for.
        what: &'static str,
    },
    /// Not now.
    #[error("run '{id}' cannot {what}: it is {state}")]
    State {
        /// Which run.
        id: String,
        /// What was asked for.
        what: &'static str,
        /// What it is instead.
        state: &'static str,
    },
    /// Another run's turn.
    #[error("a round of run '{0}' is open on this agent; end it first")]
    Busy(String),
    /// A round with the probe, but nothing to follow.
    #[error("each request of this test has a connection of its own, which no probe can follow")]
    NoFlow,
    /// Another flow than the client's own.
    #[error("the flow is not that of the run's sockets")]
    Flow,
    /// The endpoint is another one by now.
    #[error(
        "the network namespace of endpoint {endpoint} has changed (inode {found}, not {asked}): its pod was restarted; resolve the path again"
    )]
    Changed {
        /// Which endpoint.
        endpoint: Endpoint,
        /// The inode of now.
        found: u32,
        /// The inode as resolved.
        asked: u32,
    },
    /// The endpoint's namespace cannot be opened.
    #[error("endpoint {endpoint}: {source}")]
    Place {
        /// Which endpoint.
        endpoint: Endpoint,
        /// The system's reason.
        source: io::Error,
    },
    /// The traffic itself.
    #[error(transparent)]
    Traffic(#[from] TrafficError),
    /// A round with the probe, but there is none.
    #[error("no probe on this node: {0}")]
    Probe(String),
    /// Samples are asked for, but there are none.
    #[error("no samples of stacks on this node: {0}")]
    Profile(String),
}

impl RunError {
    /// The HTTP status that says the same.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Unknown(_) => 404,
            Self::Plan(_)
            | Self::SampleRate
            | Self::Elsewhere(..)
            | Self::RoundLength(_)
            | Self::NothingToCalibrate
            | Self::NotMine { .. }
            | Self::Flow
            | Self::NoFlow => 400,
            Self::Exists(_)
            | Self::TooMany
            | Self::State { .. }
            | Self::Busy(_)
            | Self::Changed { .. }
            | Self::Traffic(TrafficError::Stopped | TrafficError::Unknown) => 409,
            Self::Traffic(TrafficError::Held(_)) => LASTING,
            Self::Place { source, .. } if source.kind() == io::ErrorKind::NotFound => 409,
            Self::Traffic(TrafficError::Open { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                409
            }
            Self::Place { .. } | Self::Traffic(_) | Self::Probe(_) | Self::Profile(_) => 500,
        }
    }
}
