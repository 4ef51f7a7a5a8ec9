//! Why a controller did not give what was asked.

use std::{io, time::Duration};

use nettoll_core::reason;

use super::{address::Address, cluster};
use crate::failure::Failure;

/// Why a controller did not give what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The socket is there, but not for this user.
    #[error(
        "no permission to use the controller at {0}: run as root (sudo nettoll …), or name a \
         cluster with --context"
    )]
    Permission(Address),
    /// Nobody listens.
    #[error(
        "no controller answers at {address} ({source}): start a lab with 'nettoll lab up', or \
         name a controller with --controller or NETTOLL_CONTROLLER"
    )]
    Unreachable {
        /// Where.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// See [`cluster::Error`].
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The connection broke, or no HTTP came over it.
    #[error("the connection to the controller at {place} broke ({message}): see its log")]
    Broken {
        /// Where.
        place: String,
        /// How.
        message: String,
    },
    /// No answer.
    #[error(
        "no answer from the controller at {place} in {patience:?}: see its log, or does something \
         else listen there?"
    )]
    Silent {
        /// Where.
        place: String,
        /// For how long it was waited.
        patience: Duration,
    },
    /// The controller does not take the request.
    #[error("the controller refuses: {0}")]
    Refused(String),
    /// It would take the same request at another time.
    #[error("the controller refuses: {0}")]
    Busy(String),
    /// The controller failed.
    #[error("the controller failed: {0}")]
    Failed(String),
    /// The answer is not what this version understands.
    #[error(
        "cannot read the controller's answer to {path} ({message}): use a nettoll of the \
         controller's version"
    )]
    Answer {
        /// What was asked.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Error {
    pub(super) fn silent(place: &str, patience: Duration) -> Self {
        let place = place.to_owned();
        Self::Silent { place, patience }
    }

    pub(super) fn broken(place: &str, error: &dyn std::error::Error) -> Self {
        Self::Broken {
            place: place.to_owned(),
            message: reason(error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Permission(_)
            | Error::Unreachable { .. }
            | Error::Silent { .. }
            | Error::Cluster(_)
            | Error::Refused(_)
            | Error::Busy(_) => Self::Prerequisite(error.to_string()),
            _ => Self::Run(error.to_string()),
        }
    }
}
