//! The names and numbers of a lab. Nothing here touches the machine.
//!
//! Addresses come from 198.18.0.0/15, which RFC 2544 sets apart for benchmarks. N is the number
//! of a node.
//!
//! | network | addresses |
//! |---|---|
//! | the nodes' own | 198.18.0.N/24 on `eth0` |
//! | management: API and metrics | 198.18.254.N/24 on `mgmt0`, the controller at .254 |
//! | pods, vxlan | 198.18.N.0/24: `flannel.1` .0, `cni0` .1, pods .2 and .3 |
//! | pods, host-gw | 198.18.(100+N).0/24: `cni0` .1, pods .2 and .3 |
//! | services | 198.18.128.0/24: `echo` .1, that of a pod .(10N+2) and .(10N+3) |

mod node;
mod service;

use std::net::{IpAddr, Ipv4Addr};

use nettoll_core::api::{Inventory, InventoryNode, InventoryPod};

use crate::{Error, Network, Underlay};

pub use node::{Node, Pod};
pub use service::Service;

/// What every network namespace of the lab begins with.
pub const NETNS_PREFIX: &str = "nettoll-";
/// Name of the controller's place.
pub const CONTROLLER: &str = "cp";
/// Name of the place of the bridge that joins more than two nodes.
pub const WIRE: &str = "wire";
/// The Kubernetes namespace that the pods play to be in.
pub const POD_NAMESPACE: &str = "lab";
/// Most nodes that the numbers allow.
pub const MOST_NODES: u8 = 9;
/// MTU of the nodes' network.
pub const UNDERLAY_MTU: u32 = 1500;
/// What vxlan over IPv4 adds to a packet: inner Ethernet 14, vxlan 8, UDP 8, IP 20 (RFC 7348).
pub const VXLAN_OVERHEAD: u32 = 50;

/// A network between pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodNetwork {
    /// Encapsulated between nodes.
    Vxlan,
    /// Routed between nodes.
    HostGw,
}

impl PodNetwork {
    /// As in paths, inventories and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::HostGw => "host-gw",
        }
    }

    /// The address with number `host` in the subnet of node `node`.
    #[must_use]
    pub fn address(self, node: u8, host: u8) -> Ipv4Addr {
        match self {
            Self::Vxlan => Ipv4Addr::new(198, 18, node, host),
            Self::HostGw => Ipv4Addr::new(198, 18, 100 + node, host),
        }
    }

    /// The address of `cni0`.
    #[must_use]
    pub fn gateway(self, node: u8) -> Ipv4Addr {
        self.address(node, 1)
    }

    /// The subnet of a node, `198.18.1.0/24`.
    #[must_use]
    pub fn subnet(self, node: u8) -> String {
        format!("{}/24", self.address(node, 0))
    }
}

/// All of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How pods of different nodes reach each other.
    pub network: Network,
    /// What joins the nodes.
    pub underlay: Underlay,
    /// Nodes have the rules of services.
    pub has_services: bool,
    /// The nodes, n1 first.
    pub nodes: Vec<Node>,
}

impl Plan {
    /// Plans a lab.
    ///
    /// # Errors
    /// [`Error::Nodes`].
    pub fn new(nodes: u8, network: Network, underlay: Underlay) -> Result<Self, Error> {
        if !(2..=MOST_NODES).contains(&nodes) {
            return Err(Error::Nodes(nodes));
        }
        Ok(Self {
            network,
            underlay,
            has_services: true,
            nodes: (1..=nodes).map(Node::new).collect(),
        })
    }

    /// Whether the nodes are joined by a bridge: a veth pair has two ends only.
    #[must_use]
    pub fn has_wire(&self) -> bool {
        self.underlay == Underlay::Veth && self.nodes.len() > 2
    }

    /// MTU of the pods' devices and of `cni0`. Flannel's bridge takes the overlay's; where
    /// host-gw is there too, the devices have the underlay's and the routes say the rest.
    #[must_use]
    pub fn pod_mtu(&self) -> u32 {
        match self.network {
            Network::Vxlan => UNDERLAY_MTU - VXLAN_OVERHEAD,
            Network::HostGw | Network::Both => UNDERLAY_MTU,
        }
    }

    /// All network namespaces.
    #[must_use]
    pub fn netns(&self) -> Vec<String> {
        let wire = self.has_wire().then(|| netns(WIRE));
        let nodes = self
            .nodes
            .iter()
            .flat_map(|node| std::iter::once(node.netns()).chain(node.pods.iter().map(Pod::netns)));
        std::iter::once(netns(CONTROLLER))
            .chain(wire)
            .chain(nodes)
            .collect()
    }

    /// What the controller is told.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        let pod_networks = self.network.pod_networks();
        let pod = |pod: &Pod| InventoryPod {
            name: format!("{POD_NAMESPACE}/{}", pod.name),
            uid: None,
            addresses: pod_networks
                .iter()
                .map(|network| (network.name().to_owned(), IpAddr::V4(pod.address(*network))))
                .collect(),
        };
        Inventory {
            networks: pod_networks
                .iter()
                .map(|network| network.name().to_owned())
                .collect(),
            services: self.services().iter().map(Service::inventory).collect(),
            nodes: self
                .nodes
                .iter()
                .map(|node| InventoryNode {
                    name: node.name.clone(),
                    address: node.address().into(),
                    agent: node.api(),
                    pods: node.pods.iter().map(pod).collect(),
                })
                .collect(),
        }
    }
}

/// Address of the controller on the management network.
#[must_use]
pub fn controller_address() -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 254, 254)
}

/// The network namespace of a place: `n1`, `n1-a`, `cp`.
#[must_use]
pub fn netns(place: &str) -> String {
    format!("{NETNS_PREFIX}{place}")
}

/// Every network namespace that any lab can have: where leftovers are looked for.
#[must_use]
pub fn all_netns() -> Vec<String> {
    let nodes = (1..=MOST_NODES).map(Node::new).flat_map(|node| {
        std::iter::once(node.netns())
            .chain(node.pods.iter().map(Pod::netns))
            .collect::<Vec<_>>()
    });
    [netns(CONTROLLER), netns(WIRE)]
        .into_iter()
        .chain(nodes)
        .collect()
}

/// The network namespace that a user means by `n1`, `node/n1`, `n1-a`, `pod/lab/n1-a`, `cp` or
/// `netns/nettoll-n1`.
///
/// # Errors
/// [`Error::Place`].
pub fn netns_of(place: &str) -> Result<String, Error> {
    let pod_prefix = format!("pod/{POD_NAMESPACE}/");
    let netns_prefix = format!("netns/{NETNS_PREFIX}");
    let name = ["node/", pod_prefix.as_str(), netns_prefix.as_str()]
        .iter()
        .find_map(|prefix| place.strip_prefix(prefix))
        .unwrap_or(place);
    let wanted = netns(name);
    all_netns()
        .into_iter()
        .find(|known| *known == wanted)
        .ok_or_else(|| Error::Place(place.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_address_is_used_once_and_lies_in_198_18() {
        let plan = Plan::new(9, Network::Both, Underlay::Veth).unwrap();
        let mut seen = BTreeSet::from([controller_address()]);
        for node in &plan.nodes {
            let bridge = [
                PodNetwork::Vxlan.gateway(node.number),
                PodNetwork::HostGw.gateway(node.number),
            ];
            let pods = node.pods.iter().flat_map(|pod| {
                [
                    pod.address(PodNetwork::Vxlan),
                    pod.address(PodNetwork::HostGw),
                ]
            });
            let tunnel = PodNetwork::Vxlan.address(node.number, 0);
            let services = plan.services().into_iter().map(|service| service.address);
            let services = services.filter(|_| node.number == 1);
            for address in [node.address(), node.management(), tunnel]
                .into_iter()
                .chain(bridge)
                .chain(pods)
                .chain(services)
            {
                assert_eq!(address.octets()[..2], [198, 18]);
                assert!(seen.insert(address), "{address} twice");
            }
        }
    }

    #[test]
    fn names_are_those_that_users_rely_on() {
        let plan = Plan::new(2, Network::Both, Underlay::Veth).unwrap();
        let expected = ["cp", "n1", "n1-a", "n1-b", "n2", "n2-a", "n2-b"].map(netns);
        assert_eq!(plan.netns(), expected);
        assert!(
            plan.nodes
                .iter()
                .flat_map(|node| &node.pods)
                .all(|pod| pod.veth().len() <= 15)
        );
        assert!(
            Plan::new(3, Network::Vxlan, Underlay::Veth)
                .unwrap()
                .netns()
                .contains(&netns(WIRE))
        );
        for refused in [0, 1, 10] {
            assert!(Plan::new(refused, Network::Both, Underlay::Veth).is_err());
        }
    }

    #[test]
    fn places_are_found_by_all_their_names() {
        for (text, name) in [
            ("n1", "nettoll-n1"),
            ("node/n1", "nettoll-n1"),
            ("n2-b", "nettoll-n2-b"),
            ("pod/lab/n2-b", "nettoll-n2-b"),
            ("netns/nettoll-n2-b", "nettoll-n2-b"),
            ("cp", "nettoll-cp"),
        ] {
            assert_eq!(netns_of(text).unwrap(), name);
        }
        for refused in ["", "n0", "../n1", "node/n1-", "pod/default/n1-a"] {
            assert!(netns_of(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn the_inventory_names_what_exists() {
        let inventory = Plan::new(2, Network::HostGw, Underlay::Veth)
            .unwrap()
            .inventory();
        assert_eq!(inventory.networks, ["host-gw"]);
        assert_eq!(
            inventory.nodes[1].agent,
            "198.18.254.2:9470".parse().unwrap()
        );
        assert_eq!(inventory.nodes[1].pods[0].name, "lab/n2-a");
        let address: IpAddr = "198.18.102.2".parse().unwrap();
        assert_eq!(inventory.nodes[1].pods[0].addresses["host-gw"], address);
    }
}
