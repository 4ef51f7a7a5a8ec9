//! Nodes and pods.

use std::net::{Ipv4Addr, SocketAddr};

use nettoll_core::api::{AGENT_PORT, METRICS_PORT};

use super::{PodNetwork, netns};

const POD_LETTERS: [char; 2] = ['a', 'b'];

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// From 1.
    pub number: u8,
    /// `n1`.
    pub name: String,
    /// Its pods.
    pub pods: Vec<Pod>,
}

impl Node {
    pub(super) fn new(number: u8) -> Self {
        let name = format!("n{number}");
        let pods = POD_LETTERS
            .iter()
            .zip(2..)
            .map(|(letter, host)| Pod {
                name: format!("{name}-{letter}"),
                node: number,
                host,
            })
            .collect();
        Self { number, name, pods }
    }

    /// Its network namespace.
    #[must_use]
    pub fn netns(&self) -> String {
        netns(&self.name)
    }

    /// Its address on the nodes' network.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 0, self.number)
    }

    /// Its address on the management network.
    #[must_use]
    pub fn management(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 254, self.number)
    }

    /// Where its agent's API listens.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        (self.management(), AGENT_PORT).into()
    }

    /// Where its agent's metrics are.
    #[must_use]
    pub fn metrics(&self) -> SocketAddr {
        (self.management(), METRICS_PORT).into()
    }

    /// Locally administered address of the tunnel; the other nodes must know it.
    #[must_use]
    pub fn tunnel_mac(&self) -> String {
        format!("02:00:00:00:01:{:02x}", self.number)
    }

    /// Locally administered address of the bridge; set, because a bridge without one changes
    /// it whenever a port with a lower one comes.
    #[must_use]
    pub fn bridge_mac(&self) -> String {
        format!("02:00:00:00:02:{:02x}", self.number)
    }
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `n1-a`.
    pub name: String,
    pub(super) node: u8,
    pub(super) host: u8,
}

impl Pod {
    /// Its network namespace.
    #[must_use]
    pub fn netns(&self) -> String {
        netns(&self.name)
    }

    /// The node's end of its veth pair.
    #[must_use]
    pub fn veth(&self) -> String {
        format!("veth{}", self.name)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self, network: PodNetwork) -> Ipv4Addr {
        network.address(self.node, self.host)
    }
}
