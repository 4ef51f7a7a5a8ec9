//! `nettoll test`: one test on one path, beside its baseline.

use std::str::FromStr as _;

use nettoll_core::{
    api::{Job, ProbeMode, TestJob},
    endpoint::Endpoint,
    plan::PlanError,
    report::{DATAGRAM_BYTES, MSS_BYTES, Options, TestType},
    whole,
};

use super::{output, path::EndsArgs, rate::Rate, run, toll::seconds};
use crate::{client, failure::Failure, render::text};

/// Arguments of `nettoll test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    client: client::ControllerArgs,
    #[command(flatten)]
    ends: EndsArgs,
    /// The traffic: tcp_stream, tcp_reverse (the server sends), udp_stream (see --rate), tcp_rr,
    /// udp_rr, path_cost, or http_rr with --to url/https://… (in a cluster a URL is tested by annotation alone)
    #[arg(long = "type", value_name = "TEST")]
    test: TestType,
    /// Measured time of the run over all its rounds
    #[arg(long, default_value = "5", value_name = "N", value_parser = seconds)]
    seconds: f64,
    /// Another path to compare with, besides the path's own baseline
    #[arg(long, value_name = "FROM,TO", value_parser = endpoints)]
    against: Option<(Endpoint, Endpoint)>,
    /// Which rounds to run: with the probe and without it, the same with the client's agent
    /// alone, only with, only without
    #[arg(long, value_enum, default_value = "both", value_name = "STATES")]
    probe: Probe,
    /// Pairs of rounds in which the path is compared with its baseline
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = whole(10..=1000))]
    pairs: u32,
    /// Unmeasured traffic before each round
    #[arg(long, default_value_t = 100, value_name = "MS", value_parser = whole(0..=60_000))]
    warmup_ms: u32,
    /// Bytes of one send call of tcp_stream and tcp_reverse [default: 131072], or of one datagram of
    /// udp_stream [default: 1400]
    #[arg(long, value_name = "N", value_parser = whole(16..=16_777_216))]
    message_bytes: Option<u32>,
    /// Payload per second of udp_stream, such as 100mbit, 100M or 2.5G; 0 or none for as fast as
    /// possible, which takes what others need of a network
    #[arg(short = 'b', long, visible_alias = "bitrate", value_name = "RATE", value_parser = Rate::from_str)]
    rate: Option<Rate>,
    /// The largest segment of tcp_stream and tcp_reverse, options of TCP included, 88 to 32767
    /// [default: what the kernels agree on]
    #[arg(long, value_name = "BYTES", value_parser = whole(MSS_BYTES))]
    mss: Option<u32>,
    /// Bytes of a request, or of the datagram of path_cost
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = whole(16..=65_000))]
    request_bytes: u32,
    /// Bytes of a response
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = whole(16..=65_000))]
    response_bytes: u32,
    /// Stack samples per second and CPU; 0 for none
    #[arg(long, default_value_t = 997, value_name = "N", value_parser = whole(0..=10_000))]
    sample_hz: u32,
    #[command(flatten)]
    output: output::OutputArgs,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Probe {
    /// Rounds with the probe and without it
    Both,
    /// Both, and only the client's agent attaches it
    Client,
    /// Only rounds with it
    On,
    /// Only rounds without it
    Off,
}

/// Refuses a test that cannot be run there, before a controller is looked for.
fn check(test: TestType, to: &Endpoint) -> Result<(), Failure> {
    if test.reaches(to) {
        return Ok(());
    }
    let to = to.clone();
    let refused = PlanError::Unreachable { test, to };
    Err(Failure::Prerequisite(refused.to_string()))
}

/// Measures and shows.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    check(args.test, &args.ends.to)?;
    if args.mss.is_some() && !args.test.has_segments() {
        let told = format!(
            "--mss is of tcp_stream and tcp_reverse, not of {}",
            args.test
        );
        return Err(Failure::Prerequisite(told));
    }
    let datagrams = args.test == TestType::UdpStream;
    if args.rate.is_some() && !datagrams {
        let told = format!("--rate is of udp_stream, not of {}", args.test);
        return Err(Failure::Prerequisite(told));
    }
    if let Some(bytes) = args.message_bytes.filter(|_| datagrams)
        && !DATAGRAM_BYTES.contains(&bytes)
    {
        let told = format!(
            "--message-bytes is {bytes}; a datagram of udp_stream has {} to {}",
            DATAGRAM_BYTES.start(),
            DATAGRAM_BYTES.end()
        );
        return Err(Failure::Prerequisite(told));
    }
    let defaults = Options::default();
    let job = TestJob {
        from: args.ends.from,
        to: args.ends.to,
        network: args.ends.network,
        test: args.test,
        options: Options {
            seconds: args.seconds,
            rounds: args.pairs,
            warmup_ms: args.warmup_ms,
            message_bytes: args
                .message_bytes
                .filter(|_| !datagrams)
                .unwrap_or(defaults.message_bytes),
            request_bytes: args.request_bytes,
            response_bytes: args.response_bytes,
            sample_hz: args.sample_hz,
            mss_bytes: args.mss,
            datagram_bytes: args
                .message_bytes
                .filter(|_| datagrams)
                .unwrap_or(defaults.datagram_bytes),
            rate_bits_per_second: args.rate.and_then(|rate| rate.0),
        },
        against: args.against,
        probe: match args.probe {
            Probe::Both => ProbeMode::Both,
            Probe::Client => ProbeMode::Client,
            Probe::On => ProbeMode::On,
            Probe::Off => ProbeMode::Off,
        },
    };
    args.output.prepare()?;
    run::interruptible(async {
        let client = args.client.client().await?;
        run::job(&client, &Job::Test(job), &args.output, text::report).await
    })
}

/// Two endpoints with a comma between them.
fn endpoints(text: &str) -> Result<(Endpoint, Endpoint), String> {
    let (from, to) = text
        .split_once(',')
        .ok_or("write two endpoints as FROM,TO")?;
    let endpoint = |text: &str| text.parse::<Endpoint>().map_err(|error| error.to_string());
    Ok((endpoint(from)?, endpoint(to)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_endpoints_are_read() {
        let (from, to) = endpoints("node/n1,pod/lab/n2-a").unwrap();
        assert_eq!(
            (from.to_string(), to.to_string()),
            ("node/n1".into(), "pod/lab/n2-a".into())
        );
        assert!(endpoints("node/n1").unwrap_err().contains("FROM,TO"));
        assert!(endpoints("node/n1,n2").unwrap_err().contains("node/NAME"));
    }
}
