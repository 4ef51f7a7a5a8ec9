//! Streams whose right figures are known: what a bucket lets through, and where the packets went.

use anyhow::{Context as _, Result, ensure};
use aya::programs::TcAttachType;
use nettoll_core::{
    hop::{Direction, Side},
    report::{Report, Run, TestType},
};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::{
    counters::{run_in, snmp},
    pods::{Pods, round},
    session::{BRIEF, PODS, Session, first, followed, over_vxlan, stage},
    spinner::Spinner,
};

/// What the bucket lets through, bit/s.
const RATE: f64 = 100e6;
/// Its burst holds a packet of many segments.
const BUCKET: &str = "root tbf rate 100mbit burst 128kb limit 1mb";
/// The Ethernet header, which queueing disciplines count.
const ETHERNET: f64 = 14.0;
/// Of which the dropper takes one.
const EVERY: u64 = 50;
/// Of IPv4 and UDP.
const UDP_HEADERS: f64 = 20.0 + 8.0;
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
    let report = through_the_bucket(&session, "nettoll-n1", &["udp_stream"])?;
    let run = first(&report)?;
    within_one_percent(
        run,
        run.options.datagram_bytes.into(),
        ETHERNET + UDP_HEADERS,
    )?;
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

#[test]
fn datagrams_that_are_dropped_are_lost_and_no_others() -> Result<()> {
    let bed = Pods::up()?;
    let mut spec = bed.spec(TestType::UdpStream)?;
    spec.options.rate_bits_per_second = Some(50_000_000);
    // So that nothing is dropped that is not measured.
    spec.options.warmup_ms = 0;
    let mut dropper = Spinner::attach("nettoll-n2", "cni0", TcAttachType::Egress)?;
    bed.begin_run(&spec)?;
    let server = bed.pod(1);
    let counted = || -> Result<[u64; 2]> {
        Ok([
            snmp(&server, "Udp:", "InDatagrams")?,
            snmp(&server, "Udp:", "RcvbufErrors")?,
        ])
    };
    for every in [0, EVERY] {
        dropper.drop_every(every)?;
        let before = counted()?;
        let (client, server) = bed.round(&spec.id, &round(false))?;
        let after = counted()?;
        let dropped = dropper.drop_every(0)?;
        let sent = client.sent.context("nobody counted what was sent")?;
        let arrived = server.arrived.context("nobody counted what arrived")?;
        let [came, full] = [after[0] - before[0], after[1] - before[1]];
        println!("{sent} sent, {dropped} dropped, {full} without room, {arrived:?}");
        ensure!(sent > 1_000, "{sent} datagrams");
        // What the kernel gave to the socket is what was counted, and what is missing was dropped.
        ensure!(came == arrived.datagrams, "{came} came, {arrived:?}");
        ensure!(arrived.datagrams + dropped + full == sent, "{arrived:?}");
        ensure!(arrived.without_room == Some(full), "{arrived:?}");
        ensure!(every == 0 || dropped == sent / every, "{dropped} of {sent}");
        ensure!(
            (arrived.reordered, arrived.duplicates) == (0, 0),
            "{arrived:?}"
        );
    }
    bed.end_run(&spec.id)
}

#[test]
fn a_report_tells_what_became_of_datagrams() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let mut dropper = Spinner::attach("nettoll-n2", "cni0", TcAttachType::Egress)?;
    dropper.drop_every(EVERY)?;
    let how = ["--type", "udp_stream", "--rate", "20mbit", "--seconds", "1"];
    let ends = ["--from", PODS[0], "--to", PODS[1], "--probe", "off"];
    // So that nothing is dropped that is not measured.
    let brief = ["--warmup-ms", "0", "--sample-hz", "0"];
    let report = session.test(&[&ends[..], &how, &brief].concat())?;
    let run = first(&report)?;
    let udp = run.udp.as_ref().context("no figures of UDP")?;
    println!("{udp:?}, {:?} lost", run.lost);
    let lost = udp.sent - udp.arrived;
    ensure!(run.lost == Some(lost), "{udp:?}");
    // The dropper goes on counting in rounds that are in no figure: each of them may take one more or less.
    let left_out = run.rounds.iter().filter(|it| it.invalid_reason.is_some());
    let exact = udp.sent.abs_diff(lost * EVERY) <= EVERY * (1 + left_out.count() as u64);
    ensure!(exact && udp.without_room == Some(0), "{udp:?}");
    let share = udp.lost_share.context("no share")?;
    ensure!(
        (share - lost as f64 / udp.sent as f64).abs() < 1e-9,
        "{share}"
    );
    // What is due in a round is sent in it.
    let (rounds, bytes) = (run.options.rounds, run.options.datagram_bytes);
    let due = 20e6 / f64::from(rounds) / f64::from(bytes * 8);
    ensure!(
        udp.sent.is_multiple_of((due + 0.5) as u64),
        "{udp:?}, {due}"
    );
    ensure!(
        udp.jitter_ns.is_some_and(|jitter| jitter.mean > 0.0),
        "{udp:?}"
    );
    Ok(())
}

/// As behind a card: each segment comes by itself, and the receiver's GRO puts many into one packet. The
/// others end without an event, and their addresses are the next ones'.
#[test]
fn segments_that_gro_merges_are_told_as_merged() -> Result<()> {
    let pods = Pods::up()?;
    let sender = ["ethtool", "-K", "eth0", "tso", "off", "gso", "off"];
    run_in(&pods.pod(0), &sender, "")?;
    run_in("nettoll-n2", &["ethtool", "-K", "eth0", "gro", "on"], "")?;
    let spec = pods.spec(TestType::TcpStream)?;
    pods.begin_run(&spec)?;
    let (ran, _) = pods.round(&spec.id, &round(true))?;
    let [client, server] = pods.finish(&spec.id)?;
    pods.end_run(&spec.id)?;
    let mss = client.tcp.context("no figures of TCP")?.mss_bytes;
    let segments = ran.bytes / u64::from(mss);
    println!("{segments} segments; lost: {:?}", server.lost);
    let lost = |reason| server.lost.get(reason).copied().context("not told");
    ensure!(lost("merged")? > segments / 2, "GRO merged few of them");
    ensure!(
        lost("stale")? < segments / 100,
        "they were taken for lost ones"
    );
    Ok(())
}
