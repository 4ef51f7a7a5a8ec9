//! Streams whose right figures are known: what a bucket lets through, and where the packets went.

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    hop::{Direction, Side},
    report::{Report, Run},
};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::{
    counters::run_in,
    session::{BRIEF, PODS, Session, first, followed, over_vxlan, stage},
};

/// What the bucket lets through, bit/s.
const RATE: f64 = 100e6;
/// Its burst holds a packet of many segments.
const BUCKET: &str = "root tbf rate 100mbit burst 128kb limit 1mb";
/// The Ethernet header, which queueing disciplines count.
const ETHERNET: f64 = 14.0;
/// Of IPv4 and TCP, without options.
const TCP_HEADERS: f64 = 20.0 + 20.0;

/// Puts a bucket before a node's device for as long as a test runs.
fn through_the_bucket(session: &Session, namespace: &str, test: &[&str]) -> Result<Report> {
    let tc = |what: &str| {
        let command = format!("tc qdisc {what}");
        let words: Vec<_> = command.split(' ').collect();
        run_in(namespace, &words, "")
    };
    tc(&format!("add dev eth0 {BUCKET}"))?;
    let ends = ["--from", "node/n1", "--to", "node/n2", "--seconds", "2"];
    let report = session.test(&[&ends[..], &["--probe", "off", "--type"], test, &BRIEF].concat());
    tc("del dev eth0 root")?;
    report
}

/// The rate that a run measured, with its payload to all that the bucket counts of a packet.
fn within_one_percent(run: &Run, payload: f64, headers: f64) -> Result<()> {
    let expected = RATE * payload / (payload + headers);
    let measured = run.throughput_bits_per_second.context("no throughput")?;
    let ratio = measured.mean / expected;
    println!(
        "{}: {:.3e} bit/s, {ratio:.4} of what is right",
        run.test, measured.mean
    );
    ensure!((ratio - 1.0).abs() < 0.01, "{}: {ratio:.4}", run.test);
    Ok(())
}

#[test]
fn a_bucket_lets_its_rate_through() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    for (test, sender) in [("tcp_stream", "nettoll-n1"), ("tcp_reverse", "nettoll-n2")] {
        let report = through_the_bucket(&session, sender, &[test])?;
        let run = first(&report)?;
        let tcp = run.tcp.as_ref().context("no figures of TCP")?;
        let options = tcp.option_bytes.context("no options")?;
        let headers = ETHERNET + TCP_HEADERS + f64::from(options);
        within_one_percent(run, tcp.mss_bytes.into(), headers)?;
    }
    Ok(())
}

#[test]
fn what_the_server_sends_is_followed_the_other_way() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let how = ["--mss", "1000", "--warmup-ms", "20"];
    let report = session.test(&[&followed(PODS, "tcp_reverse", "1")[..], &how].concat())?;
    let run = first(&report)?;
    let way = over_vxlan(Side::Server, Side::Client);
    for (side, name, device) in way {
        let row = stage(run, side, Direction::Response, name, Some(device));
        let row = row.with_context(|| format!("no {name} on {device}"))?;
        ensure!(row.packets.is_some_and(|packets| packets > 0), "{row:?}");
    }
    let stages = run.stages.as_deref().context("no stages")?;
    let of_data = |direction| direction == Direction::Response;
    ensure!(
        stages.iter().all(|row| of_data(row.direction)),
        "{stages:?}"
    );
    // Of the sender: what it sent is what the way carried.
    let tcp = run.tcp.as_ref().context("no figures of TCP")?;
    ensure!(
        tcp.mss_bytes + tcp.option_bytes.unwrap_or(0) == 1000,
        "{tcp:?}"
    );
    let sent = stage(run, Side::Server, Direction::Response, "veth", Some("eth0"));
    let carried = sent.and_then(|row| row.bytes).context("no bytes")?;
    let counted: u64 = run.rounds.iter().filter_map(|round| round.bytes).sum();
    let ratio = carried as f64 / counted as f64;
    println!("{carried} bytes on the way, {counted} counted by the client");
    // What was under way at the marks is in one of both.
    ensure!((0.9..1.2).contains(&ratio), "{ratio}");
    ensure!(
        run.regions.is_some() && run.components.is_some(),
        "no samples"
    );
    let cpu = run.cpu.local.as_ref().context("no processor time")?;
    ensure!(cpu.source == "samples", "{cpu:?}");
    ensure!(cpu.service_demand_ns_per_byte.is_some(), "{cpu:?}");
    Ok(())
}
