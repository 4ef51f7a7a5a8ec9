//! What a cluster looks like: a state machine that watch events feed.
//!
//! [`Cluster`] knows nodes, namespaces and the pods that it is told of, in any order and as often
//! as the watches repeat themselves: a pod may come before its node, and a state that comes twice
//! changes nothing. An event costs what one node holds, whatever the cluster's size.
//!
//! From it come the [`Inventory`](crate::api::Inventory) of a job and the [`Member`]s of the mesh.
//! It has no clock: who wants to forget a node after a while calls [`Cluster::retire`].

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::endpoint::Endpoint;

mod cluster;
mod selector;
#[cfg(test)]
pub(crate) mod tests;

pub use cluster::Cluster;
pub use selector::{Labels, Selector, SelectorError};

/// What a watch told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node is there, or is other than before.
    Node(NodeFacts),
    /// A node is gone.
    NodeGone(String),
    /// A pod is there, or is other than before.
    Pod(PodFacts),
    /// A pod is gone.
    PodGone {
        /// Its UID.
        uid: String,
    },
    /// A namespace is there, or is other than before.
    Namespace {
        /// Its name.
        name: String,
        /// It carries the label [`ALLOW_LABEL`](crate::annotation::ALLOW_LABEL) = `true`.
        allow: bool,
    },
    /// A namespace is gone.
    NamespaceGone(String),
}

/// What matters of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// Its address on the nodes' network (`InternalIP`).
    pub address: Option<IpAddr>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
    /// Condition `Ready`.
    pub ready: bool,
    /// By which the configuration's selector chooses it for the mesh.
    pub labels: Arc<Labels>,
}

/// What a pod is to nettoll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The agent of its node.
    Agent,
    /// The first endpoint of its node.
    EndpointA,
    /// The second endpoint of its node.
    EndpointB,
    /// Any other pod.
    Other,
}

impl Role {
    /// By the labels `app.kubernetes.io/name` and `app.kubernetes.io/component`. That the pod is
    /// in the namespace of nettoll is for the caller to see to.
    #[must_use]
    pub fn of_labels(name: Option<&str>, component: Option<&str>) -> Self {
        match (name, component) {
            (Some("nettoll"), Some("agent")) => Self::Agent,
            (Some("nettoll"), Some("endpoint-a")) => Self::EndpointA,
            (Some("nettoll"), Some("endpoint-b")) => Self::EndpointB,
            _ => Self::Other,
        }
    }
}

/// What matters of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Its UID.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its node, once it is scheduled.
    pub node: Option<String>,
    /// Its address, once it has one.
    pub address: Option<IpAddr>,
    /// It lives in its node's network namespace.
    pub host_network: bool,
    /// It runs and is not terminating (agents: condition `Ready`).
    pub ready: bool,
    /// It is terminating, or has finished.
    pub gone: bool,
    /// What it is to nettoll.
    pub role: Role,
}

impl PodFacts {
    /// As paths name it.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::Pod {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// A node of the mesh.
///
/// It became one when its agent was first ready, and stays one while the node lasts: a node
/// or an agent that fails is to be seen as failing, not to vanish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its zone; empty where it has none.
    pub zone: String,
    /// Its labels.
    pub labels: Arc<Labels>,
    /// Its address on the nodes' network.
    pub address: IpAddr,
    /// Where its agent's API listens; `None` while there is no agent.
    pub agent: Option<SocketAddr>,
    /// UID of the agent's pod: another one has no plan yet.
    pub agent_uid: Option<String>,
    /// The endpoint pod from which and to which its `pod-to-pod` edges go.
    pub pod: Option<MemberPod>,
}

/// An endpoint pod of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPod {
    /// As paths name it.
    pub endpoint: Endpoint,
    /// Its UID.
    pub uid: String,
    /// Its address in the pod network.
    pub address: IpAddr,
}
