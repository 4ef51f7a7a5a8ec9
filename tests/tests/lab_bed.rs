//! The lab's network: which way packets go, and what they may weigh.

use std::{
    collections::BTreeSet,
    fs,
    io::{ErrorKind, Read, Write},
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nettoll_lab::{Lab, Network, Options, Underlay, plan::PodNetwork, tap};
use nettoll_tests::{
    bed::{Pair, nothing_left, options},
    require_root,
};
use serde_json::Value;

const PACKETS: u64 = 100;

/// Bytes of the headers of IPv4 and UDP.
const HEADERS: usize = 28;

/// Packets that a device has sent.
fn sent(place: &str, device: &str) -> Result<u64> {
    let mut command = nettoll_lab::command_in(place, "ip")?;
    let output = command
        .args(["-s", "-j", "link", "show", "dev", device])
        .output()?;
    let links: Value = serde_json::from_slice(&output.stdout)?;
    links[0]["stats64"]["tx"]["packets"]
        .as_u64()
        .context("no packet counter")
}

/// Packets that (`flannel.1`, `eth0`) of n1 send while `work` is done.
fn crossing(work: impl FnOnce() -> Result<()>) -> Result<(u64, u64)> {
    let before = (sent("n1", "flannel.1")?, sent("n1", "eth0")?);
    work()?;
    Ok((
        sent("n1", "flannel.1")? - before.0,
        sent("n1", "eth0")? - before.1,
    ))
}

/// `count` packets, and perhaps some ARP besides.
fn about(count: u64) -> std::ops::RangeInclusive<u64> {
    count..=count + 5
}

fn run(place: &str, arguments: &[&str]) -> Result<String> {
    let output = nettoll_lab::command_in(place, arguments[0])?
        .args(&arguments[1..])
        .output()?;
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn vxlan_encapsulates_and_host_gw_does_not() -> Result<()> {
    require_root()?;
    let lab = Lab::up(&options(Network::Both))?;
    let vxlan = Pair::new(&lab, PodNetwork::Vxlan)?;
    let host_gw = Pair::new(&lab, PodNetwork::HostGw)?;
    let (tunnel, underlay) = crossing(|| vxlan.send(PACKETS, 64).map(drop))?;
    assert_eq!(tunnel, PACKETS);
    assert!(about(PACKETS).contains(&underlay), "{underlay}");
    let (tunnel, underlay) = crossing(|| host_gw.send(PACKETS, 64).map(drop))?;
    assert_eq!(tunnel, 0);
    assert!(about(PACKETS).contains(&underlay), "{underlay}");
    lab.down()?;
    nothing_left()
}

#[test]
fn each_network_carries_its_mtu_and_no_more() -> Result<()> {
    require_root()?;
    for (built, network, mtu) in [
        (Network::Both, PodNetwork::Vxlan, 1450),
        (Network::Both, PodNetwork::HostGw, 1500),
        (Network::Vxlan, PodNetwork::Vxlan, 1450),
        (Network::HostGw, PodNetwork::HostGw, 1500),
    ] {
        let lab = Lab::up(&options(built))?;
        let pair = Pair::new(&lab, network)?;
        for (bytes, fragments) in [(mtu - HEADERS, 1), (mtu - HEADERS + 1, 2)] {
            let before = sent("n1", "eth0")?;
            pair.send(PACKETS, bytes)?;
            let packets = sent("n1", "eth0")? - before;
            let expected = about(fragments * PACKETS);
            assert!(
                expected.contains(&packets),
                "{built} {network:?} {bytes}: {packets}"
            );
        }
        let wanted = if built == Network::Vxlan {
            "mtu 1450"
        } else {
            "mtu 1500"
        };
        let link = run("n1-a", &["ip", "link", "show", "eth0"])?;
        assert!(link.contains(wanted), "{built}: {link}");
        assert_eq!(built != Network::HostGw, sent("n1", "flannel.1").is_ok());
    }
    nothing_left()
}

#[test]
fn nothing_has_a_route_out() -> Result<()> {
    require_root()?;
    let lab = Lab::up(&options(Network::Both))?;
    for place in ["cp", "n1", "n2"] {
        assert_eq!(run(place, &["ip", "route", "show", "default"])?, "");
        assert_eq!(run(place, &["ip", "route", "get", "192.0.2.1"])?, "");
    }
    // No device of the lab has its other end outside of the lab: all ends are counted.
    let names: BTreeSet<_> = lab.state().netns.iter().map(String::as_str).collect();
    for name in &names {
        let place = format!("netns/{name}");
        let links: Value = serde_json::from_str(&run(&place, &["ip", "-j", "-d", "link"])?)?;
        for link in links.as_array().into_iter().flatten() {
            if link["linkinfo"]["info_kind"] == "veth" {
                let peer = link["link_netnsid"]
                    .as_i64()
                    .context("an end in no namespace")?;
                let ids: Value =
                    serde_json::from_str(&run(&place, &["ip", "-j", "netns", "list-id"])?)?;
                let ids = ids.as_array().context("no namespaces")?;
                let entry = ids.iter().find(|entry| entry["nsid"] == peer);
                let peer = entry
                    .and_then(|entry| entry["name"].as_str())
                    .unwrap_or("outside");
                assert!(names.contains(peer), "{name} {}: {peer}", link["ifname"]);
            }
        }
    }
    Ok(())
}

#[test]
fn more_nodes_share_a_wire() -> Result<()> {
    require_root()?;
    let lab = Lab::up(&Options {
        nodes: 3,
        ..options(Network::Both)
    })?;
    for network in [PodNetwork::Vxlan, PodNetwork::HostGw] {
        Pair::new(&lab, network)?.send(10, 64)?;
    }
    lab.down()?;
    nothing_left()
}

#[test]
fn a_tap_underlay_gives_its_frames_to_the_test() -> Result<()> {
    require_root()?;
    let lab = Lab::up(&Options {
        underlay: Underlay::Tap,
        ..options(Network::Both)
    })?;
    let taps: Vec<_> = lab
        .plan()
        .nodes
        .iter()
        .map(tap::open)
        .collect::<Result<_, _>>()?;
    let [first, second] = taps.as_slice() else {
        anyhow::bail!("two nodes, two taps")
    };
    let end = AtomicBool::new(false);
    let forward = |mut from: &fs::File, mut to: &fs::File| -> Result<u64> {
        let mut frame = [0; 2048];
        let mut frames = 0;
        while !end.load(Ordering::Relaxed) {
            match from.read(&mut frame) {
                Ok(length) => {
                    to.write_all(&frame[..length])?;
                    frames += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_micros(100));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(frames)
    };
    for tap in &taps {
        set_nonblocking(tap)?;
    }
    thread::scope(|scope| {
        let there = scope.spawn(|| forward(first, second));
        let back = scope.spawn(|| forward(second, first));
        let result = Pair::new(&lab, PodNetwork::Vxlan).and_then(|pair| pair.send(PACKETS, 64));
        end.store(true, Ordering::Relaxed);
        let frames = there.join().unwrap()?;
        back.join().unwrap()?;
        result?;
        ensure!(frames > PACKETS, "{frames} frames");
        Ok(())
    })
}

fn set_nonblocking(file: &fs::File) -> Result<()> {
    #[expect(unsafe_code, reason = "the standard library has no fcntl for files")]
    // SAFETY: F_SETFL takes an integer and touches no memory.
    let status = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    ensure!(status == 0, "fcntl: {}", std::io::Error::last_os_error());
    Ok(())
}
