//! A lab of two nodes, ways through it, and waterfalls in words.

use super::*;
use crate::{
    api::{Times, UserTimes},
    device::{
        DeviceId,
        DeviceKind::{Bridge, Loopback, Veth, Vxlan},
    },
    hop::Hop,
};

pub(super) const REQUESTS: u64 = 1_000;

/// Namespaces: 10 and 20 are nodes 1 and 2; 11 and 12 pods of node 1, 21 one of node 2.
pub(super) fn devices() -> Vec<Device> {
    let id = |(netns, ifindex)| DeviceId { netns, ifindex };
    let device = |netns, ifindex, name: &str, kind, master, peer| Device {
        id: id((netns, ifindex)),
        name: name.to_owned(),
        place: format!("netns/{netns}"),
        node: format!("n{}", netns / 10),
        kind,
        master: Option::map(master, id),
        peer: Option::map(peer, id),
        lower: None,
        underlay: netns % 10 == 0 && name == "eth0",
        endpoint: netns % 10 != 0 && name == "eth0",
        arrival: netns % 10 != 0 && name == "eth0",
        mtu: 1_450,
        tunnel_port: None,
        qdisc: None,
    };
    let mut all = Vec::new();
    for node in [10, 20] {
        all.extend([
            device(node, 1, "lo", Loopback, None, None),
            device(node, 2, "eth0", Veth, None, None),
            device(node, 3, "cni0", Bridge, None, None),
            device(node, 4, "flannel.1", Vxlan, None, None),
            device(
                node,
                5,
                "veth-a",
                Veth,
                Some((node, 3)),
                Some((node + 1, 2)),
            ),
            device(
                node,
                6,
                "veth-b",
                Veth,
                Some((node, 3)),
                Some((node + 2, 2)),
            ),
            device(node + 1, 2, "eth0", Veth, None, Some((node, 5))),
            device(node + 2, 2, "eth0", Veth, None, Some((node, 6))),
        ]);
    }
    all
}

/// A hop written `event@netns:name`.
pub(super) fn hop(text: &str) -> Hop {
    let events = [
        Event::UserSend,
        Event::Queue,
        Event::StartXmit,
        Event::Xmit,
        Event::NetifRx,
        Event::GroReceive,
        Event::Receive,
        Event::Copy,
        Event::DataReady,
        Event::BacklogReady,
        Event::UserRead,
        Event::UserReceive,
    ];
    let (event, device) = text.split_once('@').unwrap();
    let (netns, name) = device.split_once(':').unwrap();
    let netns = netns.parse().unwrap();
    let ifindex = match devices()
        .iter()
        .find(|it| it.id.netns == netns && it.name == name)
    {
        Some(device) => device.id.ifindex,
        None => 99,
    };
    let event = events
        .into_iter()
        .find(|known| known.as_str() == event)
        .unwrap();
    Hop {
        device: DeviceId { netns, ifindex },
        event,
    }
}

pub(super) fn edge(direction: Direction, from: &str, to: &str, mean_ns: u64) -> Edge {
    Edge {
        direction,
        from: hop(from),
        to: hop(to),
        many_segments: false,
        packets: REQUESTS,
        segments: REQUESTS,
        ack_packets: 3,
        bytes: 64 * REQUESTS,
        sum_ns: mean_ns * REQUESTS,
        histogram: vec![(mean_ns, REQUESTS)],
    }
}

/// The edges between the hops of a way, of 100 ns each.
pub(super) fn way(direction: Direction, hops: &str) -> Vec<Edge> {
    let hops: Vec<&str> = hops.split_whitespace().collect();
    hops.windows(2)
        .map(|pair| edge(direction, pair[0], pair[1], 100))
        .collect()
}

pub(super) fn user(stage: UserStage, side: Side, direction: Direction, mean_ns: u64) -> UserTimes {
    let times = Times {
        count: REQUESTS,
        sum_ns: mean_ns * REQUESTS,
        max_ns: mean_ns,
        histogram: vec![(mean_ns, REQUESTS)],
    };
    UserTimes {
        stage,
        side,
        direction,
        times,
    }
}

pub(super) fn run_side(edges: Vec<Edge>) -> RunSide {
    RunSide {
        node: String::new(),
        edges,
        self_times: vec![],
        drops: None,
        seam_ns: None,
        user_times: vec![],
        exemplars: vec![],
        http: None,
        tcp: None,
        programs: vec![],
        missing: vec![],
        lost: BTreeMap::new(),
        stacks: None,
    }
}

pub(super) fn derive(
    sides: &[&RunSide],
    devices: &[Device],
    server: u32,
    rtt: Option<f64>,
) -> Waterfall {
    let (node, one_kernel) = (if server < 20 { "n1" } else { "n2" }, true);
    waterfall(&Journey {
        sides,
        devices,
        client: End {
            node: "n1",
            netns: 11,
        },
        server: End {
            node,
            netns: server,
        },
        one_kernel,
        rtt_mean_ns: rtt,
        requests: REQUESTS,
    })
}

/// `side direction stage device`, with `-` for null.
pub(super) fn lines(waterfall: &Waterfall) -> Vec<String> {
    let line = |stage: &Stage| {
        let side = stage.side.map_or("-", Side::as_str);
        let device = stage.device.as_deref().unwrap_or("-");
        format!(
            "{side} {} {} {device}",
            stage.direction.as_str(),
            stage.stage
        )
    };
    waterfall.stages.iter().map(line).collect()
}

pub(super) fn classes(waterfall: &Waterfall) -> Vec<(&str, Option<StageClass>)> {
    waterfall
        .stages
        .iter()
        .map(|stage| (stage.stage.as_str(), stage.class))
        .collect()
}
