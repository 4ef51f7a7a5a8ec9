//! Packets are dropped at known places in known ways: the probe says where and why, and as many as the
//! kernel's own counters.

use std::{
    net::UdpSocket,
    os::fd::{FromRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    api::{RunSide, RunSpec},
    hop::{Direction, Side},
    report::{Drops, TestType},
    stage::{End, Journey, waterfall},
};
use nettoll_lab::netns;
use nettoll_tests::{
    counters::{number_after, run_in, snmp},
    pods::{Pods, round},
    signal,
    spinner::Spinner,
};

/// What a report says of the drops.
fn drops(spec: &RunSpec, sides: &[&RunSide]) -> Result<Vec<Drops>> {
    let end = |node, netns| End { node, netns };
    let found = waterfall(&Journey {
        sides,
        devices: &spec.devices,
        client: end("n1", spec.client.netns),
        server: end("n2", spec.server.netns),
        one_kernel: true,
        rtt_mean_ns: None,
        requests: 0,
    });
    let drops = found.drops.context("nobody looked for drops")?;
    // What is in no row is among the losses alone.
    let lost = (sides.iter()).map(|side| side.lost.get("dropped_by_kernel").unwrap_or(&0));
    let lost: u64 = lost.sum();
    let listed: u64 = drops.iter().map(|row| row.packets + row.ack_packets).sum();
    ensure!(lost == listed, "{lost} lost, listed: {drops:?}");
    Ok(drops)
}

/// The row of requests that were dropped there for that reason, in which there are no others but of a
/// receiver that has the data already.
fn only<'a>(
    drops: &'a [Drops],
    side: Side,
    [stage, device, reason]: [&str; 3],
) -> Result<&'a Drops> {
    let wanted = |row: &&Drops| {
        row.side == side
            && row.direction == Direction::Request
            && row.stage == stage
            && row.device.as_deref() == Some(device)
            && row.reason.as_deref() == Some(reason)
    };
    let had = |row: &Drops| {
        let reason = row.reason.as_deref().unwrap_or_default();
        row.stage == "socket_rx" && reason.starts_with("TCP_OLD_")
    };
    let row = drops.iter().find(wanted);
    let row = row.with_context(|| format!("no {reason} in {stage}: {drops:?}"))?;
    let other = drops.iter().find(|other| *other != row && !had(other));
    ensure!(other.is_none(), "dropped elsewhere: {other:?}");
    Ok(row)
}

/// A stream whose packets are dropped on purpose, with the probe on both nodes' devices. `begin` makes
/// them drop and `end` stops that and says how many were.
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
    let drops = drops(&stream.spec, &[&client])?;
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
    let drops = drops(&stream.spec, &[&client])?;
    println!("the queue: {dropped} packets; {drops:?}");
    ensure!(dropped > 0, "the queue was never full");
    let row = only(&drops, Side::Client, ["qdisc", "flannel.1", "QDISC_DROP"])?;
    ensure!(row.packets + row.ack_packets == dropped, "{row:?}");
    Ok(())
}

#[test]
fn what_a_classifier_drops_before_the_first_hop_is_lost_in_socket_tx() -> Result<()> {
    let stream = Stream::new()?;
    let mut classifier = Spinner::attach(&stream.pods.pod(0), "eth0")?;
    classifier.drop_every(200)?;
    let (dropped, client) = stream.run(|| classifier.drop_every(0))?;
    let drops = drops(&stream.spec, &[&client])?;
    println!("the classifier: {dropped} packets; {drops:?}");
    ensure!(dropped > 0, "the classifier dropped nothing");
    let row = only(&drops, Side::Client, ["socket_tx", "eth0", "TC_EGRESS"])?;
    ensure!(row.packets + row.ack_packets == dropped, "{row:?}");
    Ok(())
}

/// A socket through which datagrams can be sent as anybody's of the pod: headers of UDP are the
/// sender's to write.
fn raw(namespace: &str) -> Result<UdpSocket> {
    #[expect(unsafe_code, reason = "raw sockets are not in the standard library")]
    let socket = netns::within(namespace, || {
        // SAFETY: socket takes three numbers.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_UDP) };
        let made = std::io::Error::last_os_error();
        // SAFETY: it was opened just now, and is nobody else's.
        (socket >= 0)
            .then(|| unsafe { OwnedFd::from_raw_fd(socket) })
            .ok_or(made)
    })??;
    Ok(UdpSocket::from(socket))
}

#[test]
fn what_a_socket_has_no_room_for_is_lost_in_socket_rx() -> Result<()> {
    const FLOOD: u32 = 800;
    let pods = Pods::up()?;
    let spec = pods.spec(TestType::UdpRr)?;
    let flow = pods.begin_run(&spec)?;
    let receiver = pods.pod(1);
    let errors = || -> Result<(u64, u64)> {
        let counter = |name| snmp(&receiver, "Udp:", name);
        Ok((counter("RcvbufErrors")?, counter("NoPorts")?))
    };
    let before = errors()?;
    let with = round(true);
    let sender = raw(&pods.pod(0))?;
    let datagram = |to_port: u16| -> Vec<u8> {
        let ports = [flow.client.port(), to_port].map(u16::to_be_bytes).concat();
        // Of 64 bytes, without a checksum.
        [ports.as_slice(), &[0, 64, 0, 0], &[7; 56]].concat()
    };
    let std::net::IpAddr::V4(address) = flow.server.ip() else {
        anyhow::bail!("the lab's pods have IPv4 addresses");
    };
    let flood = |port: u16| -> Result<()> {
        for _ in 0..FLOOD {
            sender.send_to(&datagram(port), (address, 0))?;
        }
        Ok(())
    };
    pods.between_marks(&spec.id, [&with, &with], || {
        thread::scope(|scope| {
            let run = scope.spawn(|| pods.run(&spec.id, &with));
            thread::sleep(Duration::from_millis(100));
            // Nobody reads for a while.
            let server = i32::try_from(pods.server.id())?;
            signal(server, libc::SIGSTOP)?;
            let flooded = flood(flow.server.port());
            // Dropped too, but not of the flow.
            let strangers = flood(flow.server.port() + 1);
            signal(server, libc::SIGCONT)?;
            flooded.and(strangers)?;
            run.join().ok().context("the run's thread panicked")?
        })
    })?;
    let after = errors()?;
    let (dropped, strangers) = (after.0 - before.0, after.1 - before.1);
    let sides = pods.finish(&spec.id)?;
    let drops = drops(&spec, &[&sides[0], &sides[1]])?;
    println!("the socket: {dropped} of {FLOOD}, {strangers} met no socket; {drops:?}");
    ensure!(dropped > 0, "the socket had room for all");
    ensure!(strangers == u64::from(FLOOD), "{strangers} met no socket");
    let row = only(
        &drops,
        Side::Server,
        ["socket_rx", "eth0", "SOCKET_RCVBUFF"],
    )?;
    ensure!(row.packets == dropped && row.segments == dropped, "{row:?}");
    pods.end_run(&spec.id)
}
