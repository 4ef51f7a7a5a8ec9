//! Packets are dropped at known places in known ways: the probe says where and why, and as many as the
//! kernel's own counters.

use anyhow::{Context as _, Result, ensure};
use aya::programs::TcAttachType;
use nettoll_core::{
    api::{RunSide, RunSpec},
    hop::Side,
    report::{Report, TestType},
};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::{
    counters::{number_after, run_in, snmp},
    drops::{self, only, rows},
    pods::{Pods, round},
    session::{Session, first},
    spinner::Spinner,
};

/// A stream whose packets are dropped on purpose, with the client's probe on both nodes' devices.
struct Stream {
    pods: Pods,
    spec: RunSpec,
}

impl Stream {
    fn new() -> Result<Self> {
        let pods = Pods::up()?;
        let mut spec = pods.spec(TestType::TcpStream)?;
        // So that nothing is dropped between no marks.
        spec.options.warmup_ms = 0;
        spec.count_nodes.push("n2".to_owned());
        pods.begin_run(&spec)?;
        Ok(Self { pods, spec })
    }

    /// What `counters` say after a round's traffic, and what the client's agent counted.
    fn run<T>(&self, counters: impl FnOnce() -> Result<T>) -> Result<(T, RunSide)> {
        let id = &self.spec.id;
        let (with, without) = (round(true), round(false));
        let (counted, _) = self.pods.between_marks(id, [&with, &without], || {
            let ran = self.pods.run(id, &with)?;
            ensure!(ran.bytes > 0, "nothing arrived: {:?}", ran.invalid_reason);
            counters()
        })?;
        let [client, _] = self.pods.finish(id)?;
        self.pods.end_run(id)?;
        Ok((counted, client))
    }
}

#[test]
fn a_stream_loses_at_a_rule_what_the_rule_counts_and_sends_it_again() -> Result<()> {
    let stream = Stream::new()?;
    let rule = format!(
        "table ip drops {{ chain forward {{ type filter hook forward priority 10\n\
         ip saddr {} tcp dport {} numgen inc mod 100 == 99 counter drop\n}}\n}}",
        stream.spec.client.address, stream.spec.port
    );
    let pod = stream.pods.pod(0);
    let sent_again = || snmp(&pod, "Tcp:", "RetransSegs");
    let before = sent_again()?;
    run_in("nettoll-n1", &["nft", "-f", "-"], &rule)?;
    let ((rule, sent_again), client) = stream.run(|| {
        let rule = run_in("nettoll-n1", &["nft", "list", "table", "ip", "drops"], "")?;
        run_in("nettoll-n1", &["nft", "delete", "table", "ip", "drops"], "")?;
        Ok((rule, sent_again()? - before))
    })?;
    let packets = number_after(&rule, "counter packets")?;
    let bytes = number_after(&rule, "bytes")?;
    let drops = rows(&stream.spec, &[&client])?;
    println!("the rule: {packets} packets, {bytes} bytes; {drops:?}");
    ensure!(packets > 0, "the rule dropped nothing");
    let place = ["forward", "flannel.1", "NETFILTER_DROP"];
    let row = only(&drops, Side::Client, place)?;
    // Headers of IPv4, and of TCP with timestamps.
    let headers = (20 + 32) * packets;
    ensure!(
        (row.packets, row.ack_packets, row.bytes) == (packets, 0, bytes - headers),
        "{row:?}"
    );
    // Segments are of one size, but for the last of a write.
    let tcp = client.tcp.context("no figures of TCP")?;
    let fewest = row.bytes.div_ceil(tcp.mss_bytes.into());
    ensure!(
        row.segments >= fewest && row.segments < fewest + row.packets,
        "{row:?}, {} bytes a segment",
        tcp.mss_bytes
    );
    println!("{sent_again} segments sent again");
    ensure!(
        tcp.retransmits == sent_again && sent_again >= row.segments,
        "{} segments sent again by the report, {sent_again} by the kernel, {} were dropped",
        tcp.retransmits,
        row.segments
    );
    Ok(())
}

#[test]
fn what_a_queue_has_no_room_for_is_lost_in_it() -> Result<()> {
    let stream = Stream::new()?;
    let queue = "qdisc add dev flannel.1 root tbf rate 400mbit burst 256kb limit 320kb";
    let tc = |command: &str| {
        let words: Vec<_> = ["tc", "-s"].into_iter().chain(command.split(' ')).collect();
        run_in("nettoll-n1", &words, "")
    };
    tc(queue)?;
    let (dropped, client) = stream.run(|| {
        // It is empty: all that was sent is acknowledged.
        let counted = tc("qdisc show dev flannel.1")?;
        tc("qdisc del dev flannel.1 root")?;
        number_after(&counted, "(dropped")
    })?;
    let drops = rows(&stream.spec, &[&client])?;
    println!("the queue: {dropped} packets; {drops:?}");
    ensure!(dropped > 0, "the queue was never full");
    let row = only(&drops, Side::Client, ["qdisc", "flannel.1", "QDISC_DROP"])?;
    ensure!(row.packets + row.ack_packets == dropped, "{row:?}");
    Ok(())
}

#[test]
fn what_a_classifier_drops_before_the_first_hop_is_lost_in_socket_tx() -> Result<()> {
    let stream = Stream::new()?;
    let mut classifier = Spinner::attach(&stream.pods.pod(0), "eth0", TcAttachType::Egress)?;
    classifier.drop_every(200)?;
    let (dropped, client) = stream.run(|| classifier.drop_every(0))?;
    let drops = rows(&stream.spec, &[&client])?;
    println!("the classifier: {dropped} packets; {drops:?}");
    ensure!(dropped > 0, "the classifier dropped nothing");
    let row = only(&drops, Side::Client, ["socket_tx", "eth0", "TC_EGRESS"])?;
    ensure!(row.packets + row.ack_packets == dropped, "{row:?}");
    Ok(())
}

#[test]
fn what_a_socket_has_no_room_for_is_lost_in_socket_rx() -> Result<()> {
    drops::fill_a_socket()
}

#[test]
fn a_report_tells_of_a_drop_once_and_on_its_own_node() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let rule = "table ip drops { chain forward { type filter hook forward priority 10\n\
                tcp dport 9480-9489 numgen inc mod 500 == 499 counter drop\n}\n}";
    run_in("nettoll-n2", &["nft", "-f", "-"], rule)?;
    let ends = ["--from", "pod/lab/n1-a", "--to", "pod/lab/n2-a"];
    let how = ["--type", "tcp_rr", "--seconds", "3", "--probe", "on"];
    // Late answers may make it invalid: it has a report all the same.
    let output = session.nettoll(&[&["test", "-o", "json"], &ends[..], &how].concat())?;
    let report: Report = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let counted = run_in("nettoll-n2", &["nft", "list", "table", "ip", "drops"], "")?;
    let counted = number_after(&counted, "counter packets")?;
    let run = first(&report)?;
    let drops = run.drops.as_deref().context("nobody looked for drops")?;
    println!("the rule: {counted} packets; {drops:?}");
    let row = only(drops, Side::Server, ["forward", "cni0", "NETFILTER_DROP"])?;
    // Some may be dropped between no marks.
    ensure!(row.packets > 0 && row.packets <= counted, "{row:?}");
    let sent_again = run.tcp.as_ref().context("no figures of TCP")?.retransmits;
    ensure!(
        sent_again >= row.packets,
        "{sent_again} segments sent again"
    );
    Ok(())
}
