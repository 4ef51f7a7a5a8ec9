//! Exact self time of transmit functions.

/// Calls of transmit functions that can be nested on one CPU, a power of two.
pub const NESTING: usize = 8;

/// The key of a self time: flow, direction and device; never 0.
#[inline(always)]
#[must_use]
pub const fn self_key(flow: u16, direction: u16, device: u16) -> u32 {
    (1 << 30) | ((flow as u32 & 63) << 16) | ((direction as u32 & 1) << 15) | (device as u32 & 0xFF)
}

/// Self time of one device's transmit function on one CPU, in a table as that of edges.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelfCell {
    /// [`self_key`]; 0 for an empty cell.
    pub key: u32,
    /// Keeps the alignment.
    pub pad: u32,
    /// Calls.
    pub calls: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Time in it, less what is nested.
    pub self_ns: u64,
    /// How often a program was left and the next one entered in that time; tunnels only.
    pub seams: u64,
    /// Fills the cache line.
    pub fill: [u64; 3],
}

/// What leaving one program and entering the next takes, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeamTime {
    /// When the program was left; 0 for not.
    pub left_ns: u64,
    /// How often.
    pub count: u64,
    /// Time in all.
    pub sum_ns: u64,
}

/// One call of a transmit function that has not returned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Key of the `net_device`'s address.
    pub device: u64,
    /// When it was called.
    pub start_ns: u64,
    /// Time in calls nested in it.
    pub children_ns: u64,
    /// [`self_key`], with `FRAME_TUNNEL` or not, or `UNFOLLOWED`.
    pub key: u32,
    /// Payload bytes.
    pub bytes: u32,
    /// Nested calls so far.
    pub children: u32,
    /// Unused.
    pub pad: u32,
}

/// In a [`Frame`]'s key: of a tunnel. Not in any [`self_key`].
pub const FRAME_TUNNEL: u32 = 1 << 31;
/// A nested call for a packet that nobody follows.
pub const UNFOLLOWED: u32 = u32::MAX;

/// The calls nested on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nest {
    /// How many frames are in use.
    pub depth: u32,
    /// Calls deeper than [`NESTING`], not measured.
    pub overflow: u32,
    /// Outermost first.
    pub frames: [Frame; NESTING],
}

/// A call of a transmit function that takes longer than this, and [`INTERRUPTED_TIMES`] as long as
/// the mean of those before, was interrupted for longer than by a timer's tick (with the sampler's
/// some 20 µs): as a rule a virtual CPU waited for a real one. Ticks stay in, as they do in busy
/// time, which the samples share out.
pub const INTERRUPTED_NS: u64 = 100_000;
/// See [`INTERRUPTED_NS`].
pub const INTERRUPTED_TIMES: u64 = 8;
