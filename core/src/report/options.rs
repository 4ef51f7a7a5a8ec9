//! What shapes a run's traffic.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::stats::MIN_PAIRS;

/// The options of a run, all of them, as they were used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Measured time over all rounds, warm-up not included.
    pub seconds: f64,
    /// Rounds in which the run is divided, per state of the probe.
    pub rounds: u32,
    /// Unmeasured traffic before each round.
    pub warmup_ms: u32,
    /// Bytes of one send call (`tcp_stream`, `tcp_reverse`).
    pub message_bytes: u32,
    /// Bytes of a request (RR tests), of the datagram (`path_cost`).
    pub request_bytes: u32,
    /// Bytes of a response (RR tests).
    pub response_bytes: u32,
    /// Samples per second and CPU.
    pub sample_hz: u32,
    /// The largest segment that either side may send, options of TCP included (`tcp_stream`,
    /// `tcp_reverse`); `null` for what the kernels agree on. What came of it is in [`super::Tcp`].
    #[serde(default)]
    pub mss_bytes: Option<u32>,
    /// Payload of a datagram (`udp_stream`).
    #[serde(default = "datagram_bytes")]
    pub datagram_bytes: u32,
    /// Payload that is sent per second (`udp_stream`); `null` for as fast as possible.
    #[serde(default)]
    pub rate_bits_per_second: Option<u64>,
}

/// What others send, and what the tunnels of pod networks leave of an Ethernet frame.
fn datagram_bytes() -> u32 {
    1_400
}

/// What [`Options::datagram_bytes`] may be: header and stamp, to the most that UDP carries over IPv4.
pub const DATAGRAM_BYTES: RangeInclusive<u32> = 24..=65_507;

/// What [`Options::mss_bytes`] may be: Linux's `TCP_MIN_MSS` to `MAX_TCP_WINDOW`.
pub const MSS_BYTES: RangeInclusive<u32> = 88..=32_767;

impl Default for Options {
    /// What commands, annotations and the mesh take where nobody says otherwise.
    fn default() -> Self {
        Self {
            seconds: 5.0,
            // What an interval needs.
            rounds: MIN_PAIRS as u32,
            // TCP's window has grown and the CPU's caches are warm well before.
            warmup_ms: 50,
            // What iperf3 sends with one call.
            message_bytes: 128 << 10,
            // The smallest Ethernet frame's size, and room for a message's header.
            request_bytes: 64,
            response_bytes: 64,
            sample_hz: 0,
            mss_bytes: None,
            datagram_bytes: datagram_bytes(),
            rate_bits_per_second: None,
        }
    }
}
