//! Network devices as an agent found them by netlink.

use serde::{Deserialize, Serialize};

/// What a device is, by its link kind and its route to the other node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// The loopback device.
    Loopback,
    /// One end of a virtual cable.
    Veth,
    /// A bridge.
    Bridge,
    /// A VXLAN tunnel.
    Vxlan,
    /// A Geneve tunnel.
    Geneve,
    /// A WireGuard tunnel: between its two ends nobody can read whose a packet is.
    Wireguard,
    /// Any other tunnel (ipip, gre, …).
    Tunnel,
    /// TUN or TAP.
    Tun,
    /// A device without a link kind: a real network card.
    Physical,
    /// Any other kind.
    Other,
}

impl DeviceKind {
    /// The word used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Veth => "veth",
            Self::Bridge => "bridge",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Wireguard => "wireguard",
            Self::Tunnel => "tunnel",
            Self::Tun => "tun",
            Self::Physical => "physical",
            Self::Other => "other",
        }
    }

    /// Whether packets are encapsulated when they are sent on such a device.
    #[must_use]
    pub fn is_tunnel(self) -> bool {
        matches!(
            self,
            Self::Vxlan | Self::Geneve | Self::Wireguard | Self::Tunnel
        )
    }
}

/// Which device: an ifindex is unique only within its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceId {
    /// Inode of the network namespace, as `stat /proc/self/ns/net` shows it.
    pub netns: u32,
    /// The interface index in that namespace.
    pub ifindex: u32,
}

/// A device of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Which one.
    pub id: DeviceId,
    /// Its name in its namespace.
    pub name: String,
    /// The namespace in the user's words: `node/n1`, `pod/lab/n1-a`.
    pub place: String,
    /// The node that it belongs to.
    pub node: String,
    /// What it is.
    pub kind: DeviceKind,
    /// The bridge (or bond) that it is a port of.
    pub master: Option<DeviceId>,
    /// The other end of a veth, where that is in one of the node's namespaces.
    pub peer: Option<DeviceId>,
    /// The device under a tunnel, where the tunnel is bound to one.
    pub lower: Option<DeviceId>,
    /// It carries the route to another node's address.
    pub underlay: bool,
    /// It is in an endpoint's namespace and carries the route to the other endpoint (`lo`
    /// for loopback): where a packet's way begins.
    pub endpoint: bool,
    /// Packets for the endpoint come by it (`lo` for loopback): where their way ends. On a node that
    /// may be another device than [`Self::endpoint`]: what it sends to a pod through a tunnel is
    /// answered without.
    #[serde(default)]
    pub arrival: bool,
    /// Bytes.
    pub mtu: u32,
    /// UDP port of a VXLAN or Geneve device.
    pub tunnel_port: Option<u16>,
    /// The root queueing discipline's kind.
    pub qdisc: Option<String>,
}
