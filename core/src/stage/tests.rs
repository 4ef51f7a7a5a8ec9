//! Stages of paths as the lab has them: the orders of hops are those that were seen.

use super::*;
use crate::{
    api::UserTimes,
    device::DeviceKind,
    hop::{Dropped, SelfTime},
    report::StageClass::{Mixed, Wait, Work},
};

mod exemplar;
mod fixture;
mod gap;
mod kinds;

use fixture::{REQUESTS, classes, derive, devices, edge, hop, lines, run_side, user, way};

/// As it was seen from pod to pod over vxlan, from namespace `from` to `to` of the other node.
fn over_vxlan(direction: Direction, from: u32, to: u32) -> Vec<Edge> {
    let (a, b) = (from / 10 * 10, to / 10 * 10);
    way(
        direction,
        &format!(
            "user_send@{from}:eth0 queue@{from}:eth0 start_xmit@{from}:eth0 netif_rx@{a}:veth-a
             receive@{a}:veth-a receive@{a}:cni0 queue@{a}:flannel.1 start_xmit@{a}:flannel.1
             queue@{a}:eth0 start_xmit@{a}:eth0 netif_rx@{b}:eth0 receive@{b}:eth0
             gro_receive@{b}:flannel.1 receive@{b}:flannel.1 queue@{b}:cni0 start_xmit@{b}:cni0
             queue@{b}:veth-a start_xmit@{b}:veth-a netif_rx@{to}:eth0 receive@{to}:eth0"
        ),
    )
}

#[test]
fn a_round_trip_over_vxlan_has_all_its_stages_in_order() {
    // Each agent counts the hops of its own node and the wire that it sends on.
    let of_node = |netns: u32, edges: &[Edge]| -> Vec<Edge> {
        let own = |edge: &&Edge| edge.from.device.netns / 10 == netns / 10;
        edges.iter().filter(own).cloned().collect()
    };
    let mut edges = over_vxlan(Direction::Response, 21, 11);
    edges.extend(over_vxlan(Direction::Request, 11, 21));
    let mut client = run_side(of_node(11, &edges));
    let mut server = run_side(of_node(21, &edges));
    client.user_times = vec![user(
        UserStage::SocketRx,
        Side::Client,
        Direction::Response,
        5_000,
    )];
    server.user_times = vec![
        user(UserStage::Responder, Side::Server, Direction::Request, 700),
        user(UserStage::SocketRx, Side::Server, Direction::Request, 4_000),
    ];
    client.self_times = vec![SelfTime {
        direction: Direction::Request,
        device: hop("queue@10:flannel.1").device,
        calls: 2 * REQUESTS,
        bytes: 64 * REQUESTS,
        self_ns: 500 * 2 * REQUESTS,
        seams: 0,
    }];
    // 20 edges a way.
    let seen = 2.0 * 19.0 * 100.0 + 5_000.0 + 4_000.0 + 700.0;
    let found = derive(&[&client, &server], &devices(), 21, Some(seen + 500.0));

    let one_way = |direction: &str, from: &str, to: &str| {
        [
            format!("{from} {direction} socket_tx eth0"),
            format!("{from} {direction} qdisc eth0"),
            format!("{from} {direction} veth eth0"),
            format!("{from} {direction} backlog veth-a"),
            format!("{from} {direction} bridge cni0"),
            format!("{from} {direction} forward flannel.1"),
            format!("{from} {direction} qdisc flannel.1"),
            format!("{from} {direction} encap flannel.1"),
            format!("{from} {direction} qdisc eth0"),
            format!("{from} {direction} wire eth0"),
            format!("{to} {direction} backlog eth0"),
            format!("{to} {direction} decap flannel.1"),
            format!("{to} {direction} gro_cells flannel.1"),
            format!("{to} {direction} forward cni0"),
            format!("{to} {direction} qdisc cni0"),
            format!("{to} {direction} bridge cni0"),
            format!("{to} {direction} qdisc veth-a"),
            format!("{to} {direction} veth veth-a"),
            format!("{to} {direction} backlog eth0"),
            format!("{to} {direction} socket_rx eth0"),
        ]
    };
    let mut expected = one_way("request", "client", "server").to_vec();
    expected.push("server request responder -".to_owned());
    expected.extend(one_way("response", "server", "client"));
    expected.push("- both unattributed -".to_owned());
    assert_eq!(lines(&found), expected);

    for stage in found.stages.iter().filter(|stage| stage.side.is_some()) {
        assert_eq!(stage.packets, Some(REQUESTS), "{}", stage.stage);
    }
    let encap = &found.stages[7];
    assert_eq!((encap.mean_ns, encap.class), (100.0, Some(Work)));
    assert_eq!(encap.cpu_ns_per_packet, Some(500.0));
    assert_eq!(encap.cpu_ns_per_byte, Some(500.0 * 2.0 / 64.0));
    assert_eq!(encap.ack_packets, Some(3));
    assert_eq!(
        encap.histogram.as_deref(),
        Some([(103, REQUESTS)].as_slice())
    );
    assert_eq!(found.stages[20].mean_ns, 700.0);
    let left = found.stages.last().unwrap();
    assert!((left.mean_ns - 500.0).abs() < 1e-6);
    assert_eq!((left.class, left.packets), (None, None));
    assert!((found.closure.unwrap() - seen / (seen + 500.0)).abs() < 1e-12);
}

#[test]
fn two_pods_of_one_node_have_a_bridge_and_no_wire() {
    let mut one = run_side(way(
        Direction::Request,
        "user_send@11:eth0 queue@11:eth0 start_xmit@11:eth0 netif_rx@10:veth-a receive@10:veth-a
         queue@10:veth-b start_xmit@10:veth-b netif_rx@12:eth0 receive@12:eth0",
    ));
    one.user_times = vec![user(
        UserStage::SocketRx,
        Side::Server,
        Direction::Request,
        300,
    )];
    // One way, as `path_cost` has it.
    let found = derive(&[&one], &devices(), 12, Some(1_100.0));
    assert_eq!(
        lines(&found),
        [
            "client request socket_tx eth0",
            "client request qdisc eth0",
            "client request veth eth0",
            "client request backlog veth-a",
            "client request bridge cni0",
            "server request qdisc veth-b",
            "server request veth veth-b",
            "server request backlog eth0",
            "server request socket_rx eth0",
            "- both unattributed -",
        ]
    );
    assert!((found.closure.unwrap() - 1.0).abs() < 1e-12);
}

#[test]
fn loopback_is_the_senders() {
    let side = run_side(
        [(Direction::Request, 10), (Direction::Response, 10)]
            .iter()
            .flat_map(|&(direction, _)| {
                way(
                    direction,
                    "user_send@10:lo queue@10:lo start_xmit@10:lo netif_rx@10:lo receive@10:lo",
                )
            })
            .collect(),
    );
    let end = End {
        node: "n1",
        netns: 10,
    };
    let found = waterfall(&Journey {
        sides: &[&side],
        devices: &devices(),
        client: end,
        server: end,
        one_kernel: true,
        rtt_mean_ns: None,
        requests: REQUESTS,
    });
    assert_eq!(
        lines(&found),
        [
            "client request socket_tx lo",
            "client request qdisc lo",
            "client request loopback lo",
            "client request backlog lo",
            "server response socket_tx lo",
            "server response qdisc lo",
            "server response loopback lo",
            "server response backlog lo",
        ]
    );
    assert_eq!(found.closure, None, "no round-trip time, no closure");
}

#[test]
fn what_the_table_does_not_know_keeps_its_name() {
    let side = run_side(way(
        Direction::Request,
        "receive@10:eth0 xmit@10:lo receive@77:x",
    ));
    let found = derive(&[&side], &devices(), 21, None);
    assert_eq!(
        classes(&found),
        [
            ("receive@eth0->xmit@lo", None),
            ("xmit@lo->receive@77:99", None)
        ]
    );
    assert_eq!(found.stages[0].mean_ns, 100.0);
    assert_eq!(found.stages[1].device, None);
}

#[test]
fn edges_of_one_stage_are_one_row_and_contribute_in_full() {
    let both = ["queue@10:eth0", "start_xmit@10:eth0"];
    let mut few = edge(Direction::Request, both[0], both[1], 100);
    few.packets = REQUESTS / 2;
    few.segments = REQUESTS / 2;
    few.sum_ns = 100 * REQUESTS / 2;
    let mut many = few.clone();
    many.many_segments = true;
    many.segments = 5 * REQUESTS;
    many.sum_ns = 300 * REQUESTS / 2;
    many.histogram = vec![(319, REQUESTS / 2)];
    let side = run_side(vec![many, few]);
    let found = derive(&[&side], &devices(), 21, Some(400.0));
    let qdisc = &found.stages[0];
    assert_eq!(qdisc.mean_ns, 200.0);
    assert_eq!(qdisc.packets, Some(REQUESTS));
    assert_eq!(qdisc.segments, Some(5 * REQUESTS + REQUESTS / 2));
    assert_eq!(qdisc.ack_packets, Some(6));
    assert_eq!(qdisc.histogram.as_deref().map(<[_]>::len), Some(1));
    assert_eq!(
        qdisc.histogram_many_segments,
        Some(vec![(319, REQUESTS / 2)])
    );
    assert_eq!(found.closure, Some(0.5));
    // Half of the packets alone: the mean is per packet, what it contributes per request.
    let side = run_side(side.edges[1..].to_vec());
    let found = derive(&[&side], &devices(), 21, Some(400.0));
    assert_eq!(found.stages[0].mean_ns, 100.0);
    assert_eq!(found.closure, Some(0.125));
}

#[test]
fn stages_may_add_up_to_more_than_the_round_trip() {
    let side = run_side(way(Direction::Request, "queue@11:eth0 start_xmit@11:eth0"));
    let found = derive(&[&side], &devices(), 21, Some(80.0));
    assert_eq!(found.stages.last().map(|stage| stage.mean_ns), Some(-20.0));
    assert_eq!(found.closure, Some(1.25));
}

#[test]
fn acks_alone_make_no_stage() {
    let mut acks = edge(
        Direction::Response,
        "queue@11:eth0",
        "start_xmit@11:eth0",
        100,
    );
    (acks.packets, acks.sum_ns) = (0, 0);
    let side = run_side(vec![acks]);
    assert_eq!(derive(&[&side], &devices(), 21, None).stages, []);
}

#[test]
fn the_copy_lies_within_socket_rx() {
    let copied = way(
        Direction::Request,
        "netif_rx@21:eth0 receive@21:eth0 copy@21:eth0",
    );
    let mut side = run_side(copied);
    let alone = derive(&[&side], &devices(), 21, None);
    assert_eq!(
        classes(&alone),
        [("backlog", Some(Wait)), ("socket_rx", Some(Mixed))]
    );
    assert_eq!(alone.stages[1].mean_ns, 100.0);
    side.user_times = vec![user(
        UserStage::SocketRx,
        Side::Server,
        Direction::Request,
        900,
    )];
    let measured = derive(&[&side], &devices(), 21, None);
    assert_eq!(classes(&measured), classes(&alone));
    assert_eq!(measured.stages[1].mean_ns, 900.0);
}

/// A request that went the whole way, and what the server's thread saw of it.
fn request_with(user_times: Vec<UserTimes>) -> RunSide {
    let mut side = run_side(over_vxlan(Direction::Request, 11, 21));
    side.user_times = user_times;
    side
}

#[test]
fn what_follows_the_last_receive_is_work_and_waits() {
    let seen = |stage, ns| user(stage, Side::Server, Direction::Request, ns);
    let mut side = request_with(vec![
        seen(UserStage::Wakeup, 30_000),
        seen(UserStage::SocketQueue, 4_000),
        seen(UserStage::SocketBacklog, 700),
        seen(UserStage::SocketWork, 600),
    ]);
    // Half of them came before the call, and half after.
    for user in &mut side.user_times[..2] {
        (user.times.count, user.times.sum_ns) = (REQUESTS / 2, user.times.sum_ns / 2);
    }
    let rtt = 1_900.0 + 15_000.0 + 2_000.0 + 700.0 + 600.0;
    let found = derive(&[&side], &devices(), 21, Some(rtt));
    assert_eq!(
        classes(&found)[19..],
        [
            ("socket_rx", Some(Work)),
            ("socket_backlog", Some(Mixed)),
            ("socket_queue", Some(Wait)),
            ("wakeup", Some(Wait)),
            ("unattributed", None),
        ]
    );
    let wakeup = &found.stages[22];
    assert_eq!(
        (wakeup.mean_ns, wakeup.packets),
        (30_000.0, Some(REQUESTS / 2))
    );
    assert_eq!(wakeup.device.as_deref(), Some("eth0"));
    assert!((found.closure.unwrap() - 1.0).abs() < 1e-12);
    assert_eq!(found.absent, BTreeMap::new());
}

#[test]
fn a_message_that_the_socket_did_not_tell_of_has_no_parts() {
    let seen = |stage, ns| user(stage, Side::Server, Direction::Request, ns);
    let whole = [seen(UserStage::SocketUnsplit, 5_000)];
    let parts = [
        seen(UserStage::SocketWork, 600),
        seen(UserStage::Wakeup, 4_000),
    ];
    let names = |side: &RunSide| {
        let found = derive(&[side], &devices(), 21, None);
        let names = found.stages[19..].iter().map(|it| it.stage.clone());
        names.collect::<Vec<_>>()
    };
    let side = request_with([&whole[..], &parts].concat());
    let unseen = "receive@eth0->user_receive@eth0";
    assert_eq!(names(&side), [unseen, "socket_rx", "wakeup"]);
    assert_eq!(names(&request_with(whole.to_vec())), [unseen]);
}

#[test]
fn a_bridge_that_sends_back_is_a_bridge() {
    // A pod to itself: the port translates, and the bridge sends back by the port.
    let side = run_side(way(
        Direction::Request,
        "queue@11:eth0 start_xmit@11:eth0 netif_rx@10:veth-a receive@10:veth-a queue@10:veth-a
         start_xmit@10:veth-a netif_rx@11:eth0 receive@11:eth0",
    ));
    let found = derive(&[&side], &devices(), 11, None);
    let line = "client request bridge cni0".to_owned();
    assert!(lines(&found).contains(&line), "{:?}", lines(&found));
}

#[test]
fn what_a_node_receives_without_the_tunnel_is_received_on_its_own_device() {
    // From a node through the tunnel, and back to the node's own address.
    let mut side = run_side(way(
        Direction::Response,
        "queue@20:cni0 start_xmit@20:eth0 netif_rx@10:eth0 receive@10:eth0",
    ));
    side.user_times = vec![user(
        UserStage::SocketRx,
        Side::Client,
        Direction::Response,
        900,
    )];
    let mut listed = devices();
    for device in &mut listed {
        device.endpoint = device.id.netns == 10 && device.name == "flannel.1";
    }
    let node = End {
        node: "n1",
        netns: 10,
    };
    let found = waterfall(&Journey {
        sides: &[&side],
        devices: &listed,
        client: node,
        server: End {
            node: "n2",
            netns: 21,
        },
        one_kernel: true,
        rtt_mean_ns: None,
        requests: REQUESTS,
    });
    let line = "client response socket_rx eth0".to_owned();
    assert!(lines(&found).contains(&line), "{:?}", lines(&found));
}

#[test]
fn devices_listed_by_both_ends_are_one() {
    let mut listed = devices();
    // The other end's listing: nothing is an endpoint or underlay there.
    listed.splice(
        0..0,
        devices().into_iter().map(|it| Device {
            underlay: false,
            endpoint: false,
            ..it
        }),
    );
    let side = run_side(over_vxlan(Direction::Request, 11, 21));
    let found = derive(&[&side], &listed, 21, None);
    assert!(lines(&found).contains(&"client request wire eth0".to_owned()));
}

#[test]
fn what_is_dropped_is_in_the_stage_that_the_others_went_through() {
    let dropped = |direction, last: &str, reason: Option<&str>, packets| Dropped {
        direction,
        last: hop(last),
        reason: reason.map(str::to_owned),
        packets,
        segments: 2 * packets,
        ack_packets: 1,
        bytes: 100 * packets,
    };
    let request = |last, reason, packets| dropped(Direction::Request, last, reason, packets);
    let mut client = run_side(over_vxlan(Direction::Request, 11, 21));
    client.drops = Some(vec![
        request("receive@10:cni0", Some("NETFILTER_DROP"), 3),
        // Before its first hop, and where only the device's kind tells.
        request("user_send@11:eth0", None, 2),
        dropped(Direction::Response, "queue@20:eth0", Some("QDISC_DROP"), 1),
        dropped(Direction::Response, "receive@20:eth0", Some("XDP"), 1),
    ]);
    // The other agent saw what did not reach the socket, on two CPUs.
    let mut server = run_side(Vec::new());
    let full = request("receive@21:eth0", Some("SOCKET_RCVBUFF"), 4);
    server.drops = Some(vec![full.clone(), full]);
    let rows = |sides: &[&RunSide]| derive(sides, &devices(), 21, None).drops;
    let line = |row: &Drops| {
        let [device, reason] = [&row.device, &row.reason].map(|it| it.as_deref().unwrap_or("-"));
        format!(
            "{} {} {} {device} {reason} {} {} {} {}",
            row.side.as_str(),
            row.direction.as_str(),
            row.stage,
            row.packets,
            row.segments,
            row.ack_packets,
            row.bytes
        )
    };
    let lines: Vec<_> = rows(&[&client, &server])
        .unwrap()
        .iter()
        .map(line)
        .collect();
    assert_eq!(
        lines,
        [
            "server request socket_rx eth0 SOCKET_RCVBUFF 8 16 2 800",
            "client request forward flannel.1 NETFILTER_DROP 3 6 1 300",
            "client request socket_tx eth0 - 2 4 1 200",
            "server response qdisc eth0 QDISC_DROP 1 2 1 100",
            "server response receive@eth0 eth0 XDP 1 2 1 100",
        ]
    );
    // Nothing was dropped, somebody did not look, or nobody did.
    client.drops = Some(Vec::new());
    server.drops = None;
    assert_eq!(rows(&[&client, &server]), Some(Vec::new()));
    client.drops = None;
    assert_eq!(rows(&[&client, &server]), None);
    server.drops = Some(Vec::new());
    assert_eq!(
        rows(&[&client, &server]),
        None,
        "an agent saw packets alone"
    );
}
