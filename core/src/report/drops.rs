//! What the kernel dropped.

use serde::{Deserialize, Serialize};

use crate::{
    device::DeviceKind,
    hop::{Direction, Side},
};

/// Packets of a run that the kernel dropped in one stage for one reason, in the rounds with the
/// probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drops {
    /// Whose node.
    pub side: Side,
    /// The way of the packets.
    pub direction: Direction,
    /// The stage that they were in, as it is named in the run's stages; the name of their last hop
    /// (`receive@eth0`) where no other packet of the run went further from there.
    pub stage: String,
    /// The device that the stage is about; `null` where none is.
    pub device: Option<String>,
    /// Its kind.
    pub device_kind: Option<DeviceKind>,
    /// The kernel's name for the reason (`NETFILTER_DROP`); `null` where it tells none.
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
