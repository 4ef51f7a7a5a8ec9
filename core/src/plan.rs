//! What is measured, and in which order.
//!
//! 1. [`classify`]: two endpoints of an inventory → the path between them, by [`served`] to one
//!    backend where it goes to a service.
//! 2. [`Ends`]: a kind of path → endpoints of an inventory that make one.
//! 3. [`toll_groups`], [`test_group`]: a job → groups of paths that are compared, and
//!    [`toll_pairs`], [`test_pairs`]: which of a group with which.
//! 4. [`blocks`]: a group → its rounds in an order that makes the comparison fair, and
//!    [`lacks_pairs`]: whether further ones are needed, since some were disturbed.

use crate::{
    api::Protocol,
    endpoint::{Endpoint, PathKind},
    report::TestType,
    stats::MIN_PAIRS,
};

mod ends;
mod groups;
mod paths;
mod rounds;
mod service;
mod spares;

pub use ends::{Backends, Ends};
pub use groups::{Group, test_group, test_pairs, toll_groups, toll_pairs};
pub use paths::{Place, Route, ServiceRoute, classify, node_of};
pub use rounds::{Blocks, PlannedRound, RoundsPlan, blocks};
pub use service::{Client, Entry, Served, served};
pub use spares::{MOST_PAIRS_TIMES, lacks_pairs};

/// Why nothing can be planned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The inventory has no such endpoint.
    #[error("there is no {endpoint}; there are {}", listed(.known))]
    NoEndpoint {
        /// What was asked for.
        endpoint: Endpoint,
        /// What there is.
        known: Vec<String>,
    },
    /// Namespaces by name and URLs, and services as a source.
    #[error(
        "{0} cannot be this end of a path; give a node (node/NAME) or a pod (pod/NAMESPACE/NAME)"
    )]
    Unsupported(Endpoint),
    /// Not every test goes everywhere.
    #[error(
        "{test} cannot be measured to {to}; the tests there are {}",
        TestType::names_to(to)
    )]
    Unreachable {
        /// The test.
        test: TestType,
        /// Where to.
        to: Endpoint,
    },
    /// Headless, or a name of something else.
    #[error(
        "{0} has no address of its own (it is headless, or a name of something else); name a pod: pod/NAMESPACE/NAME"
    )]
    NoServiceAddress(Endpoint),
    /// Services have ports of one protocol each.
    #[error("{service}: no such {protocol} port; it has {}", listed(.known))]
    NoServicePort {
        /// The service.
        service: Endpoint,
        /// The test's protocol.
        protocol: Protocol,
        /// Its ports.
        known: Vec<String>,
    },
    /// Nobody can answer.
    #[error(
        "{0} has no ready backend on a node with an agent (by another node's port: on that node)"
    )]
    NoBackend(Endpoint),
    /// Services have ports on nodes only where they are asked to.
    #[error("{0}: the service has no port on nodes for that; leave '@NODE' out")]
    NoNodePort(Endpoint),
    /// What backends answer is sent to their addresses in one network.
    #[error("{service} leads to addresses in the pod network '{first}' alone, not in '{network}'")]
    ServiceNetwork {
        /// The service.
        service: Endpoint,
        /// What was asked for.
        network: String,
        /// The inventory's first.
        first: String,
    },
    /// What lies between two nodes.
    #[error("two nodes are needed, and both are {0}; name another one")]
    OneNode(String),
    /// The inventory has no such pod network.
    #[error("there is no pod network '{network}'; there are {}", listed(.known))]
    NoNetwork {
        /// What was asked for.
        network: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A pod network is needed and none is named.
    #[error("no pod network is named for {0}; name at least one")]
    NetworkUnnamed(String),
    /// The pod is not in the network.
    #[error("{pod} has no address in the pod network '{network}'; it has one in {}", listed(.known))]
    NoAddress {
        /// The pod.
        pod: Endpoint,
        /// The network.
        network: String,
        /// The networks in which it has one.
        known: Vec<String>,
    },
    /// A node and a pod on it.
    #[error(
        "{from} and {to} are a node and a pod on it, and no kind of path lies between these; choose two pods, or a pod of another node"
    )]
    NodeAndItsPod {
        /// The client's endpoint.
        from: Endpoint,
        /// The server's endpoint.
        to: Endpoint,
    },
    /// What lies between two nodes.
    #[error("two nodes are needed; the inventory has {0}")]
    TooFewNodes(usize),
    /// What lies between pods.
    #[error("{needed} pods are needed on node/{node}; the inventory has {found} there")]
    TooFewPods {
        /// The node.
        node: String,
        /// Pods needed.
        needed: usize,
        /// Pods found.
        found: usize,
    },
    /// For a kind of path without endpoints.
    #[error(
        "no endpoints of the controller's inventory make a {0} path; name two with 'nettoll test'"
    )]
    NoEnds(PathKind),
    /// A job without tests.
    #[error("no test is named; name at least one")]
    NoTests,
    /// Fewer pairs give no interval.
    #[error("{0} pairs of rounds are too few for an interval; ask for at least {MIN_PAIRS}")]
    TooFewPairs(u32),
    /// No time to measure in.
    #[error("{0} seconds are no time to measure in; ask for a number above zero")]
    Seconds(f64),
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! What the tests of others need of this one's.

    pub(crate) use super::paths::tests::inventory;
}
