//! What became of the datagrams of `udp_stream`.

use serde::{Deserialize, Serialize};

use super::Estimate;

/// Datagrams over the reported rounds. What was sent and neither arrived nor came late is in
/// [`super::Run::lost`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Udp {
    /// Datagrams that the client sent.
    pub sent: u64,
    /// What it sent of payload; the run's throughput is what arrived.
    pub sent_bits_per_second: Option<Estimate>,
    /// Datagrams that arrived, each once.
    pub arrived: u64,
    /// Those that did not, of those that were sent.
    pub lost_share: Option<f64>,
    /// Of those that did not, how many the server's own socket had no room for: its reader was too slow,
    /// and not the path; `null` where the server's kernel does not tell.
    #[serde(default)]
    pub without_room: Option<u64>,
    /// Of those that arrived, how many came after one that was sent later.
    pub reordered: u64,
    /// Copies that came besides.
    pub duplicates: u64,
    /// The receiver's estimate of RFC 3550 at the end of each round.
    pub jitter_ns: Option<Estimate>,
}
