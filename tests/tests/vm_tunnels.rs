//! Other tunnels than vxlan between the lab's nodes: they are modules that most development
//! machines lack and distributions' kernels have, so `cargo xtask vm` runs this inside machines.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    hop::{Direction, Side},
    report::Run,
};
use nettoll_lab::{
    Network, command_in,
    plan::{Node, PodNetwork},
};
use nettoll_tests::{
    bed::without_services,
    output_of,
    session::{PODS, Session, first, followed, label, over_vxlan, requests},
};

/// The tunnel's device on each node.
const DEVICE: &str = "tun0";
/// What the lab's own tunnel is called.
const VXLAN: &str = "flannel.1";

/// Runs a command on a node, with words at spaces.
fn on(node: &Node, command: &str, input: &str) -> Result<()> {
    let mut words = command.split(' ');
    let program = words.next().context("no program")?;
    let mut program = command_in(&node.name, program)?;
    output_of(
        program.args(words),
        &format!("{}: {command}", node.name),
        input,
    )?;
    Ok(())
}

/// One end of a tunnel.
struct End<'a> {
    node: &'a Node,
    /// Its address inside the tunnel.
    inside: &'static str,
    /// WireGuard's.
    private_key: String,
}

impl<'a> End<'a> {
    fn of((node, inside): (&'a Node, &'static str)) -> Result<Self> {
        let private_key = wg("genkey", "")?;
        Ok(Self {
            node,
            inside,
            private_key,
        })
    }

    /// Leads what goes from pods to the other end's pods through a tunnel of this kind.
    fn join(&self, other: &Self, kind: &str) -> Result<()> {
        let (from, to) = (self.node.address(), other.node.address());
        let pods = PodNetwork::HostGw.subnet(other.node.number);
        let ends = match kind {
            "geneve" => format!(" id 7 remote {to}"),
            "ipip" => format!(" local {from} remote {to}"),
            _ => String::new(),
        };
        on(
            self.node,
            &format!("ip link add {DEVICE} type {kind}{ends}"),
            "",
        )?;
        if kind == "wireguard" {
            let peer = wg("pubkey", &other.private_key)?;
            let command = format!(
                "wg set {DEVICE} listen-port 51820 private-key /proc/self/fd/0 peer {} endpoint \
                 {to}:51820 allowed-ips {pods},{}/32",
                peer.trim(),
                other.inside
            );
            on(self.node, &command, &self.private_key)?;
        }
        for line in [
            format!("ip address add {}/24 dev {DEVICE}", self.inside),
            format!("ip link set {DEVICE} up"),
            format!(
                "ip route replace {pods} via {} dev {DEVICE} onlink",
                other.inside
            ),
        ] {
            on(self.node, &line, "")?;
        }
        Ok(())
    }
}

fn wg(what: &str, input: &str) -> Result<String> {
    output_of(Command::new("wg").arg(what), &format!("wg {what}"), input)
}

/// Side, stage and device of what a packet passes in this direction.
fn stages(kind: &str, direction: Direction) -> BTreeSet<String> {
    let (sender, receiver) = match direction {
        Direction::Response => (Side::Server, Side::Client),
        _ => (Side::Client, Side::Server),
    };
    let mut stages: BTreeSet<_> = over_vxlan(sender, receiver)
        .into_iter()
        .map(|(side, stage, device)| {
            let device = if device == VXLAN { DEVICE } else { device };
            format!("{} {} {stage} {device}", side.as_str(), direction.as_str())
        })
        .collect();
    if kind == "wireguard" {
        let row = |side: Side, rest| format!("{} {} {rest}", side.as_str(), direction.as_str());
        for encrypted in ["backlog eth0", "decap tun0", "gro_cells tun0"] {
            stages.remove(&row(receiver, encrypted));
        }
        stages.remove(&row(sender, "wire eth0"));
        stages.insert(row(receiver, "backlog tun0"));
    }
    stages
}

fn check(session: &Session, kind: &str) -> Result<()> {
    let report = session.packets(&followed(PODS, "udp_rr", "3"))?;
    let run = first(&report)?;
    let rows = |run: &Run| -> String {
        let row = |stage| format!("{} {:?}\n", label(stage), stage.packets);
        run.stages.iter().flatten().map(row).collect()
    };
    let requests = requests(run);
    println!(
        "{kind}: {requests} requests, closure {:?}\n{}",
        run.closure,
        rows(run)
    );
    ensure!(requests > 0, "no requests");
    let mut wanted: BTreeSet<_> = [Direction::Request, Direction::Response]
        .into_iter()
        .flat_map(|direction| stages(kind, direction))
        .collect();
    for stage in run.stages.iter().flatten() {
        let packets = stage.packets.unwrap_or_default();
        ensure!(
            packets <= requests,
            "{} has {packets} packets",
            label(stage)
        );
        if packets == requests && !stage.derived {
            wanted.remove(&label(stage));
        }
    }
    ensure!(
        wanted.is_empty(),
        "not seen, or not of all {requests} packets: {wanted:?}"
    );
    let closure = run.closure.context("no closure")?;
    ensure!((0.95..=1.05).contains(&closure), "closure {closure}");
    Ok(())
}

#[test]
fn packets_are_followed_over_other_tunnels() -> Result<()> {
    let session = Session::of(without_services(Network::HostGw))?;
    let nodes = &session.lab.plan().nodes;
    let ends = nodes.iter().zip(["198.19.0.1", "198.19.0.2"]).map(End::of);
    let ends = ends.collect::<Result<Vec<_>>>()?;
    for kind in ["geneve", "ipip", "wireguard"] {
        for (end, other) in ends.iter().zip(ends.iter().rev()) {
            end.join(other, kind)?;
        }
        check(&session, kind).context(kind)?;
        for node in nodes {
            on(node, &format!("ip link del {DEVICE}"), "")?;
        }
    }
    Ok(())
}
