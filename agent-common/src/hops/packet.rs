//! Packets on their way.

/// Packets that can be followed at once: a direct-mapped table, a power of two.
pub const PACKET_SLOTS: usize = 1 << 14;
/// Packets that can be on the wire at once: a direct-mapped table, a power of two.
pub const WIRE_SLOTS: usize = 1 << 12;

/// A packet that is being followed, in a cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketSlot {
    /// Key of its `sk_buff`'s address; 0 for an empty slot.
    pub skb: u64,
    /// When it passed the last hop.
    pub last_ns: u64,
    /// The flow's registration.
    pub generation: u32,
    /// TCP sequence number, or the low half of the sequence in the payload.
    pub sequence: u32,
    /// Payload bytes.
    pub bytes: u32,
    /// Wire packets in it.
    pub segments: u16,
    /// The last hop.
    pub last: u16,
    /// Index of the flow's state.
    pub flow: u16,
    /// 0 request, 1 response.
    pub direction: u16,
    /// `PACKET_*`.
    pub state: u32,
}

/// On its way.
pub const PACKET_MOVING: u32 = 0;
/// Received on the endpoint's device: only a copy to user space may follow.
pub const PACKET_DELIVERED: u32 = 1;
/// Seen on another node's underlay device: done, but its further receives must not be parsed
/// again.
pub const PACKET_PASSED: u32 = 2;

/// A packet that left on the underlay device.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireSlot {
    /// Flow, direction and sequence; 0 for an empty slot.
    pub key: u64,
    /// When it left.
    pub sent_ns: u64,
    /// The hop by which it left.
    pub hop: u16,
    /// Wire packets in it.
    pub segments: u16,
    /// Payload bytes.
    pub bytes: u32,
}

/// The key of a packet on the wire.
#[inline(always)]
#[must_use]
pub const fn wire_key(generation: u32, direction: u16, sequence: u32) -> u64 {
    ((((generation as u64) << 1) | direction as u64) << 32) | sequence as u64
}

/// A followed packet that does nothing for so long is not the same packet any more.
pub const STALE_NS: u64 = 10_000_000_000;
