//! The other tools: how they are run, and what they say.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::bed::{Bed, Server};
use crate::{setup::find_program, stop::Stop};

/// Where the servers run, and from where they are asked.
const SERVER: &str = "n2";
const CLIENT: &str = "n1";
/// Bytes of a request and of a response.
pub(super) const RR_BYTES: &str = "64";
/// Payload of a datagram.
pub(super) const DATAGRAM_BYTES: &str = "1400";

/// A tool to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Bulk data over TCP.
    Iperf3,
    /// The same from server to client.
    Iperf3Reverse,
    /// Datagrams as fast as possible.
    Iperf3Udp,
    /// Ping-pong over TCP.
    Sockperf,
    /// Ping-pong over TCP.
    Qperf,
}

/// Says which tools are missing.
///
/// # Errors
/// [`Stop::Prerequisite`] where one is.
pub(super) fn ready() -> Result<()> {
    let all = [Peer::Iperf3, Peer::Sockperf, Peer::Qperf].map(Peer::name);
    let missing: Vec<_> = all
        .into_iter()
        .filter(|name| find_program(name).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(" ");
    Err(Stop::Prerequisite(format!(
        "'cargo xtask bench traffic' compares with tools that are not here; try: \
         apt-get install {missing}"
    ))
    .into())
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Iperf3 | Self::Iperf3Reverse | Self::Iperf3Udp => "iperf3",
            Self::Sockperf => "sockperf",
            Self::Qperf => "qperf",
        }
    }

    /// Its usual one.
    fn port(self) -> u16 {
        match self {
            Self::Iperf3 | Self::Iperf3Reverse | Self::Iperf3Udp => 5201,
            Self::Sockperf => 11_111,
            Self::Qperf => 19_765,
        }
    }

    pub(super) fn serve(self, bed: &mut Bed<'_>) -> Result<Server> {
        let port = self.port().to_string();
        let program: &[&str] = match self {
            Self::Iperf3 | Self::Iperf3Reverse | Self::Iperf3Udp => {
                &["iperf3", "-s", "-4", "-p", &port]
            }
            Self::Sockperf => &["sockperf", "server", "--tcp", "-p", &port],
            Self::Qperf => &["qperf", "-lp", &port],
        };
        bed.serve(SERVER, program, self.port())
    }

    /// One slice: Gbit/s of iperf3, of its datagrams those sent per second, transactions per second of
    /// the others.
    pub(super) fn slice(self, bed: &mut Bed<'_>, server: &str, seconds: u32) -> Result<f64> {
        let (port, seconds) = (self.port().to_string(), seconds.to_string());
        let client = [
            "iperf3", "-c", server, "-p", &port, "-t", &seconds, "-i", "0.1", "-J",
        ];
        let program: Vec<&str> = match self {
            Self::Iperf3 => [&client[..], &["-l", "128K"]].concat(),
            Self::Iperf3Reverse => [&client[..], &["-l", "128K", "-R"]].concat(),
            Self::Iperf3Udp => [&client[..], &["-u", "-b", "0", "-l", DATAGRAM_BYTES]].concat(),
            Self::Sockperf => vec![
                "sockperf",
                "ping-pong",
                "--tcp",
                "-i",
                server,
                "-p",
                &port,
                "-m",
                RR_BYTES,
                "-t",
                &seconds,
            ],
            Self::Qperf => vec![
                "qperf", server, "-lp", &port, "-m", RR_BYTES, "-t", &seconds, "-e", "6", "-uu",
                "tcp_lat",
            ],
        };
        let text = bed.on_node(CLIENT, &program)?;
        let found = match self {
            Self::Iperf3 | Self::Iperf3Reverse => iperf3(&text, "bytes").map(|rate| rate * 8e-9),
            Self::Iperf3Udp => iperf3(&text, "packets"),
            Self::Sockperf => sockperf(&text),
            Self::Qperf => qperf(&text),
        };
        found.with_context(|| format!("{} printed no figure: {text}", self.name()))
    }
}

/// How many per second of all intervals but the first, in which the window grows, as in our warm-up.
fn iperf3(text: &str, what: &str) -> Option<f64> {
    let report: Value = serde_json::from_str(text).ok()?;
    let warm = report["intervals"].as_array()?.get(1..)?;
    let sum = |name| {
        let values = warm.iter().map(|interval| interval["sum"][name].as_f64());
        values.sum::<Option<f64>>()
    };
    let (count, seconds) = (sum(what)?, sum("seconds")?);
    (seconds > 0.0).then(|| count / seconds)
}

/// Answers over the time that it calls valid, its warm-up and cool-down left out:
/// `[Valid Duration] RunTime=0.550 sec; SentMessages=26248; ReceivedMessages=26248`.
fn sockperf(text: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.contains("[Valid Duration]"))?;
    let field = |name: &str| -> Option<f64> {
        let rest = &line[line.find(name)? + name.len()..];
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit());
        rest[..end.unwrap_or(rest.len())].parse().ok()
    };
    let (seconds, answers) = (field("RunTime=")?, field("ReceivedMessages=")?);
    (seconds > 0.0).then(|| answers / seconds)
}

/// From the mean time of one way, half a transaction: `latency  =  12182 ns`.
fn qperf(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "latency").then_some(value)
    })?;
    let ns: f64 = line
        .trim()
        .strip_suffix("ns")?
        .trim()
        .replace(',', "")
        .parse()
        .ok()?;
    (ns > 0.0).then(|| 1e9 / (2.0 * ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iperf3s_first_interval_is_left_out() {
        let text = r#"{"intervals": [
            {"sum": {"seconds": 0.1, "bytes": 1}},
            {"sum": {"seconds": 0.1, "bytes": 100000000}},
            {"sum": {"seconds": 0.1, "bytes": 150000000}}]}"#;
        assert!((iperf3(text, "bytes").unwrap() - 1.25e9).abs() < 1e-3);
        assert_eq!(iperf3(text, "packets"), None);
        assert_eq!(
            iperf3(r#"{"intervals": [], "error": "no route"}"#, "bytes"),
            None
        );
    }

    #[test]
    fn sockperfs_valid_duration_counts() {
        let text = "sockperf: [Total Run] RunTime=1.000 sec; Warm up time=400 msec; \
                    SentMessages=48070; ReceivedMessages=48069\n\
                    sockperf: [Valid Duration] RunTime=0.550 sec; SentMessages=26249; \
                    ReceivedMessages=26400\n";
        assert!((sockperf(text).unwrap() - 48_000.0).abs() < 1e-6);
        assert_eq!(sockperf("sockperf: No messages were received"), None);
    }

    #[test]
    fn qperfs_latency_is_one_way() {
        let text = "tcp_lat:\n    latency        =       12,500 ns\n";
        assert_eq!(qperf(text), Some(40_000.0));
        assert_eq!(qperf("tcp_lat:\n    latency  =  12.5 us\n"), None);
    }
}
