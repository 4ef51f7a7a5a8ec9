//! The short test that annotations and the mesh ask for.

use nettoll_core::{
    api::{Job, ProbeMode, TestJob},
    endpoint::Endpoint,
    report::{Options, TestType},
};

/// Pairs of rounds of a path and its baseline: what an interval needs.
const PAIRS: u32 = 10;
/// Before each round: TCP's window has grown by then.
const WARMUP_MS: u32 = 20;
/// What one call of a stream sends.
const MESSAGE_BYTES: u32 = 128 << 10;
/// The smallest Ethernet frame's size.
const REQUEST_BYTES: u32 = 64;

/// A test of so many measured seconds without the probe: its stages are for the light rounds and
/// for `nettoll test`, and rounds with it would take as long again.
pub(crate) fn brief(from: &Endpoint, to: &Endpoint, test: TestType, seconds: u32) -> Job {
    Job::Test(TestJob {
        from: from.clone(),
        to: to.clone(),
        network: None,
        test,
        options: Options {
            seconds: seconds.into(),
            rounds: PAIRS,
            warmup_ms: WARMUP_MS,
            message_bytes: MESSAGE_BYTES,
            request_bytes: REQUEST_BYTES,
            response_bytes: REQUEST_BYTES,
            sample_hz: 0,
        },
        against: None,
        probe: ProbeMode::Off,
    })
}
