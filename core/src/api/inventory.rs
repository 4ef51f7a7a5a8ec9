//! The nodes, pods and services that a controller knows.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use super::Protocol;
use crate::endpoint::Endpoint;

/// The nodes and endpoints that a controller knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// Names of the pod networks between nodes (`vxlan`, `host-gw`).
    pub networks: Vec<String>,
    /// The nodes.
    pub nodes: Vec<InventoryNode>,
    /// The services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<InventoryService>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryNode {
    /// Its name.
    pub name: String,
    /// Its address on the nodes' network.
    pub address: IpAddr,
    /// Where its agent's API listens.
    pub agent: SocketAddr,
    /// Its pods.
    #[serde(default)]
    pub pods: Vec<InventoryPod>,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryPod {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// Of Kubernetes. Left out where the node's agent knows the pod from its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Its address in each pod network.
    pub addresses: BTreeMap<String, IpAddr>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryService {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// Its own address; `null` where it has none (headless, or a name of something else).
    pub address: Option<IpAddr>,
    /// Only backends on the client's node answer (`internalTrafficPolicy: Local`).
    #[serde(default)]
    pub local: bool,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePort {
    /// The service's own port.
    pub port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The port of every node that leads to it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
    /// The pods that are ready to answer.
    #[serde(default)]
    pub backends: Vec<Backend>,
}

impl Backend {
    /// As paths name it; `None` for a name that is none.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        format!("pod/{}", self.pod).parse().ok()
    }
}

/// A pod that answers for a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// `NAMESPACE/NAME`.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// The pod's port.
    pub port: u16,
}
