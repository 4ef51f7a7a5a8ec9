//! Requests hop by hop.

use super::*;
use crate::{
    api::{ExemplarSide, KeptHop, KeptReady, Protocol},
    report::Exemplar,
};

const BYTES: [u32; 2] = [64, 200];
/// Where the streams of both directions began; one of them is about to wrap around.
const BEGAN: [u32; 2] = [7_000, u32::MAX - 900];

/// Hops of a request and its response over vxlan, 100 ns apart, as the agent of a node sees them.
const REQUEST: [&str; 19] = [
    "queue@11:eth0",
    "start_xmit@11:eth0",
    "netif_rx@10:veth-a",
    "receive@10:veth-a",
    "receive@10:cni0",
    "queue@10:flannel.1",
    "start_xmit@10:flannel.1",
    "queue@10:eth0",
    "start_xmit@10:eth0",
    "netif_rx@20:eth0",
    "receive@20:eth0",
    "gro_receive@20:flannel.1",
    "receive@20:flannel.1",
    "queue@20:cni0",
    "start_xmit@20:cni0",
    "queue@20:veth-a",
    "start_xmit@20:veth-a",
    "netif_rx@21:eth0",
    "receive@21:eth0",
];

/// The same hop on the way back.
fn mirrored(hop: &str) -> String {
    let (event, device) = hop.split_once('@').unwrap();
    let (netns, name) = device.split_once(':').unwrap();
    let other = match netns {
        "10" => "20",
        "11" => "21",
        "20" => "10",
        _ => "11",
    };
    format!("{event}@{other}:{name}")
}

/// What the key of a packet of that message is.
fn key(protocol: Protocol, direction: Direction, sequence: u64) -> u32 {
    let way = usize::from(direction == Direction::Response);
    match protocol {
        Protocol::Udp => sequence as u32,
        Protocol::Tcp => BEGAN[way].wrapping_add(sequence as u32 * BYTES[way]),
    }
}

/// All hops of an exchange from `at_ns` on: the thread sends at once, the server answers 500 ns
/// after it received, which is 1,000 ns after the last hop. `wire_ns` is the request's.
fn exchange(protocol: Protocol, sequence: u64, at_ns: u64, wire_ns: u64) -> Vec<KeptHop> {
    let mut hops = Vec::new();
    let mut now = at_ns;
    for direction in [Direction::Request, Direction::Response] {
        for name in REQUEST {
            now += match name {
                "netif_rx@20:eth0" if direction == Direction::Request => wire_ns,
                _ => 100,
            };
            let name = match direction {
                Direction::Response => mirrored(name),
                _ => name.to_owned(),
            };
            hops.push(KeptHop {
                direction,
                hop: hop(&name),
                at_ns: now,
                sequence: key(protocol, direction, sequence),
            });
        }
        now += 1_500;
    }
    hops
}

/// What an agent's probe keeps of it: its own node's, and the end of the wire that it sends on.
fn seen(node: u32, hops: &[KeptHop]) -> Vec<KeptHop> {
    let own = |hop: &KeptHop| hop.hop.device.netns / 10 == node;
    let sends = |hop: &KeptHop| (hop.direction == Direction::Request) == (node == 1);
    let end = |hop: &KeptHop| {
        let name = ["netif_rx@10:eth0", "netif_rx@20:eth0"];
        sends(hop) && name.iter().any(|name| hop.hop == fixture::hop(name))
    };
    let mut kept: Vec<_> = hops
        .iter()
        .filter(|hop| own(hop) || end(hop))
        .copied()
        .collect();
    for hop in &mut kept {
        // Two programs at one hook read the clock one after the other.
        if hop.hop.device.netns / 10 != node {
            hop.at_ns += 30;
        }
    }
    kept
}

/// Both sides' parts of exchange `sequence` with this time on the request's wire, each amid its
/// neighbours.
fn parts(protocol: Protocol, sequence: u64, wire_ns: u64) -> [ExemplarSide; 2] {
    let start = 1_000_000 * sequence;
    let hops = exchange(protocol, sequence, start, wire_ns);
    let last = |direction| {
        let mut of = hops.iter().filter(|hop| hop.direction == direction);
        of.next_back().unwrap().at_ns
    };
    let received = last(Direction::Request) + 1_000;
    let before = exchange(protocol, sequence - 1, start - 500_000, 100);
    let after = exchange(protocol, sequence + 1, start + 500_000, 100);
    let around: Vec<_> = [before, hops.clone(), after].concat();
    let side = |side, stamps_ns, hops| ExemplarSide {
        side,
        sequence,
        round: (side == Side::Client).then_some(4),
        stamps_ns,
        ready: None,
        hops,
        lost_hops: 0,
    };
    [
        side(
            Side::Client,
            [start, last(Direction::Response) + 1_000],
            seen(1, &hops),
        ),
        side(Side::Server, [received, received + 500], seen(2, &around)),
    ]
}

/// The join of these parts.
fn joined(protocol: Protocol, one_kernel: bool, parts: &[[ExemplarSide; 2]]) -> Vec<Exemplar> {
    let of = |node: &str, at: usize| RunSide {
        node: node.to_owned(),
        exemplars: parts.iter().map(|part| part[at].clone()).collect(),
        ..run_side(vec![])
    };
    let sides = [of("n1", 0), of("n2", 1)];
    let end = |node, netns| End { node, netns };
    exemplars(
        &Journey {
            sides: &[&sides[0], &sides[1]],
            devices: &devices(),
            client: end("n1", 11),
            server: end("n2", 21),
            one_kernel,
            rtt_mean_ns: None,
            requests: 0,
        },
        &Messages {
            protocol,
            request_bytes: BYTES[0],
            response_bytes: BYTES[1],
        },
    )
}

/// `side stage` of each hop.
fn stages(exemplar: &Exemplar) -> Vec<String> {
    let line = |hop: &crate::report::ExemplarHop| {
        let stage = hop.stage.as_deref().unwrap_or("-");
        format!("{} {stage}", hop.side.as_str())
    };
    exemplar.hops.iter().map(line).collect()
}

#[test]
fn a_request_has_the_hops_of_both_nodes_and_no_others() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let slow = [
            parts(protocol, 3, 20_000),
            parts(protocol, 9, 40_000),
            parts(protocol, 17, 30_000),
        ];
        let found = joined(protocol, true, &slow);
        let order: Vec<_> = found.iter().map(|it| (it.sequence, it.round)).collect();
        assert_eq!(order, [(9, Some(4)), (17, Some(4)), (3, Some(4))]);
        let one = &found[0];
        assert!(one.joined && one.lost_hops == 0);
        let way = [
            "socket_tx",
            "qdisc",
            "veth",
            "backlog",
            "bridge",
            "forward",
            "qdisc",
            "encap",
            "qdisc",
            "wire",
            "backlog",
            "decap",
            "gro_cells",
            "forward",
            "qdisc",
            "bridge",
            "qdisc",
            "veth",
            "backlog",
            "socket_rx",
        ];
        let one_way = |from: &'static str, to: &'static str| {
            (way.iter().enumerate()).map(move |(at, stage)| {
                let side = if at < 9 { from } else { to };
                format!("{side} {stage}")
            })
        };
        let mut expected = vec!["client -".to_owned()];
        expected.extend(one_way("client", "server"));
        expected.push("server responder".to_owned());
        expected.extend(one_way("server", "client"));
        assert_eq!(stages(one), expected, "{protocol}");
        let wire = one
            .hops
            .iter()
            .find(|hop| hop.stage.as_deref() == Some("wire"));
        assert_eq!(wire.unwrap().stage_ns, Some(40_000));
        let sum: u64 = one.hops.iter().filter_map(|hop| hop.stage_ns).sum();
        assert_eq!(sum, one.rtt_ns);
        assert_eq!(one.hops.last().unwrap().at_ns, one.rtt_ns);
        assert_eq!(one.hops[0].device.as_deref(), Some("eth0"));
        assert_eq!(one.hops[0].device_kind, Some(DeviceKind::Veth));
    }
}

#[test]
fn two_clocks_are_never_one() {
    let mut slow = parts(Protocol::Tcp, 3, 20_000);
    for stamp in &mut slow[1].stamps_ns {
        *stamp += 77_000_000;
    }
    for hop in &mut slow[1].hops {
        hop.at_ns += 77_000_000;
    }
    // Nobody sees the end of a wire on another machine.
    for (part, node) in slow.iter_mut().zip([1, 2]) {
        part.hops.retain(|hop| hop.hop.device.netns / 10 == node);
    }
    let found = joined(Protocol::Tcp, false, &[slow]);
    let hops = &found[0].hops;
    let sides: Vec<_> = hops.iter().map(|hop| hop.side).collect();
    let mut changes = sides.clone();
    changes.dedup();
    assert_eq!(changes, [Side::Client, Side::Server, Side::Client]);
    let of = |side| hops.iter().filter(move |hop| hop.side == side);
    let sum = |side| of(side).filter_map(|hop| hop.stage_ns).sum::<u64>();
    assert_eq!(sum(Side::Client), found[0].rtt_ns);
    for side in [Side::Client, Side::Server] {
        let first = of(side).next().unwrap();
        assert_eq!(
            (first.at_ns, &first.stage, first.stage_ns),
            (0, &None, None)
        );
        assert!(of(side).is_sorted_by_key(|hop| hop.at_ns));
    }
    assert!(hops.iter().all(|hop| hop.stage.as_deref() != Some("wire")));
    // All that is between what left and what came back is no stage of ours.
    let unseen: Vec<_> = of(Side::Client).filter(|hop| hop.stage.is_none()).collect();
    assert_eq!(unseen.len(), 2);
    assert!(unseen[1].stage_ns.is_some_and(|ns| ns > 20_000));
}

#[test]
fn what_the_server_did_not_keep_is_told_as_such() {
    let mut slow = parts(Protocol::Udp, 3, 20_000);
    slow[1].sequence = 2;
    slow[0].lost_hops = 5;
    let found = joined(Protocol::Udp, true, &[slow]);
    assert!(!found[0].joined);
    assert_eq!(found[0].lost_hops, 5);
    // The client's own agent saw the end of its wire.
    let names = stages(&found[0]);
    assert!(names.contains(&"server wire".to_owned()), "{names:?}");
    assert!(!names.contains(&"server responder".to_owned()), "{names:?}");
    let sum: u64 = found[0].hops.iter().filter_map(|hop| hop.stage_ns).sum();
    assert_eq!(sum, found[0].rtt_ns);
}

#[test]
fn a_packet_that_is_sent_again_is_in_its_place() {
    let mut slow = [
        parts(Protocol::Tcp, 3, 20_000),
        parts(Protocol::Tcp, 9, 900_000),
        parts(Protocol::Tcp, 12, 20_000),
    ];
    // The first one left and came to nothing; the last one of the request before comes once more.
    let again: Vec<_> = slow[1][0].hops[..9].to_vec();
    for hop in again {
        let sequence = key(Protocol::Tcp, Direction::Request, 8);
        let at_ns = hop.at_ns + 200_000;
        slow[1][0].hops.push(KeptHop { at_ns, ..hop });
        slow[1][0].hops.insert(0, KeptHop { sequence, ..hop });
    }
    let found = joined(Protocol::Tcp, true, &slow);
    assert_eq!(found[0].sequence, 9);
    let names = stages(&found[0]);
    let queued = names.iter().filter(|name| *name == "client encap").count();
    assert_eq!(queued, 2, "{names:?}");
    assert!(
        names.contains(&"client start_xmit@eth0->queue@eth0".to_owned()),
        "{names:?}"
    );
    assert_eq!(names.len(), 42 + 9);
}

#[test]
fn what_follows_the_last_receive_is_told_as_in_the_rows() {
    let whole = parts(Protocol::Tcp, 3, 20_000);
    let back = whole[0].stamps_ns[1];
    let called = whole[1].stamps_ns[0];
    let ready = |at_ns, backlog, read_ns| {
        Some(KeptReady {
            at_ns,
            backlog,
            read_ns,
        })
    };
    for (client, server, at_client, at_server) in [
        (
            ready(back - 800, false, None),
            ready(called - 700, false, Some(called - 200)),
            &["socket_rx", "wakeup"][..],
            &["socket_rx", "socket_queue", "socket_rx"][..],
        ),
        (
            ready(back - 800, true, Some(back - 10)),
            ready(called - 700, true, None),
            &["socket_backlog", "socket_queue", "socket_rx"],
            &["socket_backlog", "wakeup"],
        ),
    ] {
        for one_kernel in [true, false] {
            let mut slow = whole.clone();
            (slow[0].ready, slow[1].ready) = (client, server);
            let found = joined(Protocol::Tcp, one_kernel, &[slow]);
            let names = stages(&found[0]);
            let names = |side| {
                let last = names.iter().filter_map(move |name| name.strip_prefix(side));
                let of = |it: &&str| it.starts_with("socket_") || *it == "wakeup";
                let last = last.filter(|it| *it != "socket_tx").filter(of);
                last.map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(names("client "), at_client);
            assert_eq!(names("server "), at_server);
            if one_kernel {
                let sum: u64 = found[0].hops.iter().filter_map(|hop| hop.stage_ns).sum();
                assert_eq!(sum, found[0].rtt_ns);
            }
        }
    }
}
