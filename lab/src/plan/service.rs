//! Services.

use std::net::Ipv4Addr;

use nettoll_core::api::{Backend, InventoryService, Protocol, ServicePort};

use super::{POD_NAMESPACE, Plan, Pod, PodNetwork};
use crate::Network;

/// The name of the service of the first pod of each node.
const ECHO: &str = "echo";

/// A service, with the same port over TCP and UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `echo`, or that of its only pod: `n1-a`.
    pub name: String,
    /// Its own address.
    pub address: Ipv4Addr,
    /// Its port on every node.
    pub node_port: Option<u16>,
    /// The pods that answer for it.
    pub backends: Vec<Pod>,
}

impl Service {
    /// The services' subnet.
    pub const SUBNET: &'static str = "198.18.128.0/24";
    /// Its own port.
    pub const PORT: u16 = 80;
    /// That of its backends: the last one of test traffic, which other paths use last.
    pub const TARGET_PORT: u16 = nettoll_core::api::TRAFFIC_PORT_LAST;
    /// Its transport protocols.
    pub const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

    pub(super) fn inventory(&self) -> InventoryService {
        let backends = self.backends.iter().map(|pod| Backend {
            pod: format!("{POD_NAMESPACE}/{}", pod.name),
            node: format!("n{}", pod.node),
            port: Self::TARGET_PORT,
        });
        let backends: Vec<_> = backends.collect();
        let port = |protocol| ServicePort {
            port: Self::PORT,
            protocol,
            node_port: self.node_port,
            backends: backends.clone(),
        };
        InventoryService {
            name: format!("{POD_NAMESPACE}/{}", self.name),
            address: Some(self.address.into()),
            local: false,
            ports: Self::PROTOCOLS.map(port).into(),
        }
    }
}

impl Plan {
    /// The network in which backends have their addresses: the first that the inventory lists.
    #[must_use]
    pub fn service_network(&self) -> PodNetwork {
        match self.network {
            Network::Vxlan | Network::Both => PodNetwork::Vxlan,
            Network::HostGw => PodNetwork::HostGw,
        }
    }

    /// The services: `echo`, and one of each pod alone, so that there is one with a backend on any
    /// node that one may want.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        if !self.has_services {
            return Vec::new();
        }
        let address = |last| Ipv4Addr::new(198, 18, 128, last);
        let firsts = self.nodes.iter().filter_map(|node| node.pods.first());
        let echo = Service {
            name: ECHO.to_owned(),
            address: address(1),
            node_port: Some(30_080),
            backends: firsts.cloned().collect(),
        };
        let pods = self.nodes.iter().flat_map(|node| &node.pods);
        let own = pods.map(|pod| Service {
            name: pod.name.clone(),
            address: address(10 * pod.node + pod.host),
            node_port: None,
            backends: vec![pod.clone()],
        });
        std::iter::once(echo).chain(own).collect()
    }
}
