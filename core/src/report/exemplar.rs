//! The slowest requests of a run, each with its own way.

use serde::{Deserialize, Serialize};

use super::StageClass;
use crate::{
    device::DeviceKind,
    hop::{Direction, Event, Side},
};

/// One request of a run and its response, hop by hop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exemplar {
    /// Its number among all requests of the run, the unmeasured ones included, as in its payload.
    pub sequence: u64,
    /// The round that it was made in: the `sequence` of one of the run's rounds.
    pub round: Option<u32>,
    /// From before the send call to after the receive call, by the client's thread.
    pub rtt_ns: u64,
    /// The server's part is in it. Where it is not, the server was not told in time which request to
    /// keep, or its agent has no probe.
    pub joined: bool,
    /// At most so many hops are missing in `hops`: they were overwritten before they were read.
    pub lost_hops: u64,
    /// On one kernel in order of time. Else the client's of the request, the server's, and the client's of
    /// the response.
    pub hops: Vec<ExemplarHop>,
}

/// A packet of the request or the response passes a point of its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExemplarHop {
    /// Whose node.
    pub side: Side,
    /// The packet's way.
    pub direction: Direction,
    /// The point of the kernel, or a stamp of the traffic thread.
    pub event: Event,
    /// On which device; `null` where it is not known.
    pub device: Option<String>,
    /// Its kind.
    pub device_kind: Option<DeviceKind>,
    /// Since the request was sent. On a server of another kernel: since the first hop that was seen there.
    pub at_ns: u64,
    /// The stage that ends here, which began at the hop before of the same clock, named as in the
    /// run's stages; `null` at a clock's first hop, and for what lies between a request that left
    /// and its response where the other node's clock is another one.
    pub stage: Option<String>,
    /// Its class.
    pub class: Option<StageClass>,
    /// Its time; `null` at a clock's first hop.
    pub stage_ns: Option<u64>,
}
