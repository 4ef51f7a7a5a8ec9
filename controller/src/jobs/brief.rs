//! The short test that annotations and the mesh ask for.

use nettoll_core::{
    api::{Job, ProbeMode, TestJob},
    endpoint::Endpoint,
    report::{Options, TestType},
};

/// Before each round, shorter than usual: an answer is waited for.
const WARMUP_MS: u32 = 20;

/// Datagrams know no congestion: what anybody may ask for keeps to this rate of payload, bit/s.
const DATAGRAM_RATE: u64 = 100_000_000;

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
            warmup_ms: WARMUP_MS,
            rate_bits_per_second: (test == TestType::UdpStream).then_some(DATAGRAM_RATE),
            ..Options::default()
        },
        against: None,
        probe: ProbeMode::Off,
    })
}
