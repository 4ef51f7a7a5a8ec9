//! Other tunnels than vxlan between the lab's nodes: they are modules that most development
//! machines lack and distributions' kernels have, so `cargo xtask vm` runs this inside machines.
//!
//! The sender's half of a path over them is seen whole. Their headers are not read, so nobody
//! knows the flow's packets again behind them: the receiver's half must be absent, not wrong.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    hop::{Direction, Side},
    report::Run,
};
use nettoll_lab::{Network, command_in, plan::PodNetwork};
use nettoll_tests::{
    bed::without_services,
    output_of,
    session::{Session, first, label, stage},
};

/// The tunnel's device on each node.
const DEVICE: &str = "tun0";

/// Runs one of iproute2's or WireGuard's commands on a node, with words at spaces.
fn on(node: &str, command: &str, input: &str) -> Result<String> {
    let mut words = command.split(' ');
    let program = words.next().context("no program")?;
    output_of(command_in(node, program)?.args(words), command, input)
}

/// What iproute2 makes a tunnel with, from a node's address to the other's.
fn link(kind: &str, from: &str, to: &str) -> String {
    let ends = match kind {
        "geneve" => format!(" id 7 remote {to}"),
        "ipip" => format!(" local {from} remote {to}"),
        _ => String::new(),
    };
    format!("ip link add {DEVICE} type {kind}{ends}")
}

/// Leads what goes from pods to the other node's pods through a tunnel of this kind.
fn join(session: &Session, kind: &str) -> Result<()> {
    let nodes = &session.lab.plan().nodes;
    let keys = ["", ""].map(|_| output_of(Command::new("wg").arg("genkey"), "wg genkey", ""));
    for (index, (node, other)) in nodes.iter().zip(nodes.iter().rev()).enumerate() {
        let (from, to) = (node.address().to_string(), other.address().to_string());
        let pods = PodNetwork::HostGw.subnet(other.number);
        let (end, peer) = (198 + index, 199 - index);
        on(&node.name, &link(kind, &from, &to), "")?;
        if kind == "wireguard" {
            let key = |index: usize| {
                keys[index]
                    .as_ref()
                    .map_err(|error| anyhow::anyhow!("{error}"))
            };
            let theirs = output_of(
                Command::new("wg").arg("pubkey"),
                "wg pubkey",
                key(1 - index)?,
            )?;
            let file = std::env::temp_dir().join(format!("nettoll-wg-{}", node.name));
            fs::write(&file, key(index)?)?;
            let command = format!(
                "wg set {DEVICE} listen-port 51820 private-key {} peer {} endpoint {to}:51820 \
                 allowed-ips {pods},198.19.0.0/24",
                file.display(),
                theirs.trim()
            );
            on(&node.name, &command, "")?;
            fs::remove_file(&file)?;
        }
        on(
            &node.name,
            &format!("ip address add 198.19.0.{end}/24 dev {DEVICE}"),
            "",
        )?;
        on(&node.name, &format!("ip link set {DEVICE} up"), "")?;
        let route = format!("ip route replace {pods} via 198.19.0.{peer} dev {DEVICE} onlink");
        on(&node.name, &route, "")?;
    }
    Ok(())
}

fn stages(run: &Run) -> String {
    let row = |stage| format!("{} {:?}\n", label(stage), stage.packets);
    run.stages.iter().flatten().map(row).collect()
}

fn check(kind: &str) -> Result<()> {
    let session = Session::of(without_services(Network::HostGw))?;
    join(&session, kind)?;
    let report = session.test(&[
        "--from",
        "pod/lab/n1-a",
        "--to",
        "pod/lab/n2-a",
        "--type",
        "udp_rr",
        "--seconds",
        "2",
        "--probe",
        "on",
    ])?;
    let run = first(&report)?;
    let probed = run.rounds.iter().filter(|round| round.probe);
    let requests: u64 = probed.filter_map(|round| round.transactions).sum();
    println!(
        "{kind}: {requests} requests, closure {:?}\n{}",
        run.closure,
        stages(run)
    );
    ensure!(requests > 0, "no requests");
    for (side, direction) in [
        (Side::Client, Direction::Request),
        (Side::Server, Direction::Response),
    ] {
        for (name, device) in [
            ("socket_tx", "eth0"),
            ("bridge", "cni0"),
            ("forward", DEVICE),
            ("encap", DEVICE),
        ] {
            let found = stage(run, side, direction, name, Some(device));
            let found = found.with_context(|| {
                format!("no {side:?} {direction:?} {name} {device}\n{}", stages(run))
            })?;
            ensure!(
                found.packets == Some(requests),
                "{requests} requests, {}\n{}",
                label(found),
                stages(run)
            );
        }
    }
    for found in run.stages.iter().flatten() {
        let packets = found.packets.unwrap_or_default();
        ensure!(
            packets <= requests,
            "{} has {packets} packets",
            label(found)
        );
    }
    let closure = run.closure.context("no closure")?;
    ensure!(closure <= 1.0, "stages of {closure} of a round trip");
    Ok(())
}

#[test]
fn the_senders_half_over_geneve_is_seen() -> Result<()> {
    check("geneve")
}

#[test]
fn the_senders_half_over_ipip_is_seen() -> Result<()> {
    check("ipip")
}

#[test]
fn the_senders_half_over_wireguard_is_seen() -> Result<()> {
    check("wireguard")
}
