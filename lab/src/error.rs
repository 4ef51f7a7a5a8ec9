//! What can go wrong with a lab.

use crate::{certificates, config, files, ip, lock, netns, privilege, process, ready};

/// Why the lab could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller may not build labs.
    #[error(transparent)]
    Privilege(#[from] privilege::Error),
    /// Not a number of nodes that the lab's addresses allow.
    #[error("a lab has 2 to 9 nodes, not {0}")]
    Nodes(u8),
    /// A name that no lab has.
    #[error("'{0}' is no place of the lab; write n1, n1-a, node/n1, pod/lab/n1-a or cp")]
    Place(String),
    /// Another process builds or takes down a lab.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// iproute2 and nftables.
    #[error(transparent)]
    Ip(#[from] ip::Error),
    /// A network namespace.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// The lab's files.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// Keys and certificates.
    #[error(transparent)]
    Certificates(#[from] certificates::Error),
    /// The processes' configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Agents and controller.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// Agents and controller that do not come up.
    #[error(transparent)]
    Ready(#[from] ready::Error),
    /// [`Options::stop`](crate::Options::stop) was set.
    #[error("interrupted; what was built is taken down")]
    Interrupted,
}

/// What kind of error it is, as exit codes tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Something went wrong on the way.
    Failed,
    /// Wrong usage, a missing privilege or prerequisite.
    Prerequisite,
    /// The caller wanted an end.
    Interrupted,
}

impl Error {
    /// What kind of error it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Interrupted => Class::Interrupted,
            Self::Privilege(_)
            | Self::Nodes(_)
            | Self::Place(_)
            | Self::Ip(ip::Error::Missing { .. })
            | Self::Netns(netns::Error::Absent { .. })
            | Self::Process(process::Error::Missing { .. }) => Class::Prerequisite,
            _ => Class::Failed,
        }
    }
}
