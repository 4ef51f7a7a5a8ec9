//! Drops as a test looks at them, and a way to make some that needs no tools.

use std::{
    net::{IpAddr, UdpSocket},
    os::fd::{FromRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nettoll_core::{
    api::{RunSide, RunSpec},
    hop::{Direction, Side},
    report::{Drops, TestType},
};
use nettoll_lab::netns;

use crate::{
    counters::snmp,
    pods::{Pods, round, waterfall},
    signal,
};

/// What a report says of the drops.
///
/// # Errors
/// Where nobody looked, or where rows and losses disagree.
pub fn rows(spec: &RunSpec, sides: &[&RunSide]) -> Result<Vec<Drops>> {
    let found = waterfall(spec, sides, None);
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
///
/// # Errors
/// Where it is not there, or not alone.
pub fn only<'a>(
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

/// Fills a socket that nobody reads, in a round: what it had no room for is in `socket_rx` for the reason
/// `SOCKET_RCVBUFF`, as many as the kernel counts for the socket's namespace, and no stranger's packets.
///
/// # Errors
/// Where it is not.
pub fn fill_a_socket() -> Result<()> {
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
    let IpAddr::V4(address) = flow.server.ip() else {
        bail!("the lab's pods have IPv4 addresses");
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
    let drops = rows(&spec, &[&sides[0], &sides[1]])?;
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
