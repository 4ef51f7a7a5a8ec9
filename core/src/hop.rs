//! Hops: one packet passing one point of the kernel.

use serde::{Deserialize, Serialize};

use crate::device::DeviceId;

/// The point of the kernel that a packet passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The traffic thread's stamp before its send call.
    UserSend,
    /// `net_dev_queue`.
    Queue,
    /// `net_dev_start_xmit`.
    StartXmit,
    /// `net_dev_xmit`.
    Xmit,
    /// `netif_rx`.
    NetifRx,
    /// `napi_gro_receive_entry`.
    GroReceive,
    /// `netif_receive_skb`.
    Receive,
    /// `skb_copy_datagram_iovec`.
    Copy,
    /// `sk_data_ready`: the socket told that it has the packet's data.
    DataReady,
    /// The same, where the packet waited in the socket's backlog because a system call had the
    /// socket to itself.
    BacklogReady,
    /// The traffic thread's stamp before its receive call, where that came after the data.
    UserRead,
    /// The traffic thread's stamp after its receive call.
    UserReceive,
}

impl Event {
    /// The word used where a hop is reported under its own name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserSend => "user_send",
            Self::Queue => "queue",
            Self::StartXmit => "start_xmit",
            Self::Xmit => "xmit",
            Self::NetifRx => "netif_rx",
            Self::GroReceive => "gro_receive",
            Self::Receive => "receive",
            Self::Copy => "copy",
            Self::DataReady => "data_ready",
            Self::BacklogReady => "backlog_ready",
            Self::UserRead => "user_read",
            Self::UserReceive => "user_receive",
        }
    }
}

/// An event on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hop {
    /// Where.
    pub device: DeviceId,
    /// What.
    pub event: Event,
}

/// The way that a packet goes within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the client to the server.
    Request,
    /// From the server to the client.
    Response,
    /// Derived from both ways.
    Both,
}

impl Direction {
    /// The word used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Both => "both",
        }
    }
}

/// Which end of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The node of the from-endpoint.
    Client,
    /// The node of the to-endpoint.
    Server,
}

impl Side {
    /// The word used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// What the probe counted between two consecutive hops of a flow's packets, in the rounds of
/// one run: one edge of the path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// The way of the packets.
    pub direction: Direction,
    /// The earlier hop.
    pub from: Hop,
    /// The later hop.
    pub to: Hop,
    /// The `sk_buff`s held more than one wire packet each (GSO).
    pub many_segments: bool,
    /// Data-carrying `sk_buff`s.
    pub packets: u64,
    /// Wire packets in them.
    pub segments: u64,
    /// Packets without payload, in none of the other figures.
    pub ack_packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Sum of the times between the hops.
    pub sum_ns: u64,
    /// Times between the hops: `[upper_bound_ns, count]`.
    pub histogram: Vec<(u64, u64)>,
}

/// Packets of a flow that the kernel dropped after one hop for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// The way of the packets.
    pub direction: Direction,
    /// The last hop; the thread's send where they had none.
    pub last: Hop,
    /// The kernel's name for the reason; `None` where it tells none.
    pub reason: Option<String>,
    /// Data-carrying `sk_buff`s.
    pub packets: u64,
    /// Wire packets in them.
    pub segments: u64,
    /// Packets without payload, in none of the other figures.
    pub ack_packets: u64,
    /// Payload bytes.
    pub bytes: u64,
}

/// Exact self time of one device's transmit function for a flow's packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTime {
    /// The way of the packets.
    pub direction: Direction,
    /// Whose transmit function.
    pub device: DeviceId,
    /// Calls, ACKs included.
    pub calls: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Between `net_dev_start_xmit` and `net_dev_xmit`, less what is nested in it.
    pub self_ns: u64,
    /// How often one of the probe's programs was left and the next one entered in `self_ns`; 0
    /// where the programs' whole work is in it (all devices but tunnels).
    #[serde(default)]
    pub seams: u64,
}

impl SelfTime {
    /// `self_ns` without the seams, of which each takes `seam_ns`.
    #[must_use]
    pub fn without_seams(&self, seam_ns: f64) -> u64 {
        self.self_ns
            .saturating_sub((self.seams as f64 * seam_ns).round() as u64)
    }
}
