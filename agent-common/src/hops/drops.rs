//! What is counted of the packets that the kernel drops.

/// Entries of the table of drops: flows have some hops each, and few reasons at one.
pub const DROPS: usize = 1 << 10;
/// In a [`DropKey`]: the kernel tells no reasons.
pub const NO_REASON: u32 = u32::MAX;

/// Where and why packets of a flow were dropped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropKey {
    /// The kernel's number, or [`NO_REASON`].
    pub reason: u32,
    /// Index of the flow's state.
    pub flow: u16,
    /// 0 request, 1 response.
    pub direction: u16,
    /// The last hop; the thread's send where there was none.
    pub last: u16,
    /// Always 0.
    pub pad: u16,
}

/// How many, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCount {
    /// Data-carrying `sk_buff`s.
    pub packets: u64,
    /// Wire packets in them.
    pub segments: u64,
    /// Packets without payload.
    pub ack_packets: u64,
    /// Payload bytes.
    pub bytes: u64,
}
