//! What one side kept of a run's slowest requests.

use serde::{Deserialize, Serialize};

use crate::hop::{Direction, Hop, Side};

/// How many of a run's slowest requests are kept.
pub const SLOWEST: usize = 8;

/// One side's part of a request that was among the slowest. Times are of the clock of that side's kernel
/// (`CLOCK_MONOTONIC`), in ns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExemplarSide {
    /// Whose traffic thread kept it.
    pub side: Side,
    /// The request's number, as in its payload.
    pub sequence: u64,
    /// The round that it was made in ([`super::RoundSpec::sequence`]); the client alone knows.
    pub round: Option<u32>,
    /// The thread's stamps. On the client: before the send call, after the receive call. On the server:
    /// after the receive call, before the send call.
    pub stamps_ns: [u64; 2],
    /// Of the message that the thread received; `None` where nobody saw the socket tell of it.
    #[serde(default)]
    pub ready: Option<KeptReady>,
    /// What passed on this side's node meanwhile, in order of time. Hops of the requests before
    /// and after it can be among them.
    pub hops: Vec<KeptHop>,
    /// Hops that were passed meanwhile and are not in `hops`.
    pub lost_hops: u64,
}

/// The socket told that it had the data of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptReady {
    /// When.
    pub at_ns: u64,
    /// The packet had waited in the socket's backlog.
    pub backlog: bool,
    /// When the thread called to receive it; `None` where it was in its call before.
    pub read_ns: Option<u64>,
}

/// A packet with payload passed a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptHop {
    /// The packet's way.
    pub direction: Direction,
    /// Which hop.
    pub hop: Hop,
    /// When.
    pub at_ns: u64,
    /// UDP: the low half of the sequence in its payload. TCP: its sequence number, which is the place of its
    /// first byte.
    pub sequence: u32,
}
