//! The hops of single requests, one by one.
//!
//! A flow has one request outstanding where its hops are kept so: the trail is a ring that the
//! programs append to, and whose reader, a traffic thread, knows between which marks a request was
//! under way.

/// Hops that a trail holds, a power of two: of a request and its response, some 40 where both ends are on one
/// node, of those beside it until it is read, and of some that are sent again.
pub const TRAIL_HOPS: usize = 256;

/// A packet with payload passed a hop.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrailHop {
    /// When.
    pub at_ns: u64,
    /// TCP sequence number, or the low half of the sequence in the payload.
    pub sequence: u32,
    /// Which hop.
    pub hop: u16,
    /// 0 request, 1 response.
    pub direction: u16,
}

/// The latest hops of a flow.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trail {
    /// How many hops were passed; the next one's place, modulo [`TRAIL_HOPS`]. Two packets of one
    /// message that pass hops at the same moment on two CPUs take one place, and count twice.
    pub passed: u64,
    /// Fills the cache line.
    pub fill: [u64; 7],
    /// The ring.
    pub hops: [TrailHop; TRAIL_HOPS],
}

impl Default for Trail {
    /// Nothing passed.
    fn default() -> Self {
        Self {
            passed: 0,
            fill: [0; 7],
            hops: [TrailHop::default(); TRAIL_HOPS],
        }
    }
}
