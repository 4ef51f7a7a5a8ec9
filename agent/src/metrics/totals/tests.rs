//! A run of two pods whose devices all have one name.

use nettoll_core::{
    api::{Place, Role, RunSpec},
    endpoint::Path,
    hop::{Edge, Event, Hop, SelfTime},
    report::{Options, TestType},
};

use super::*;

const NODE: u32 = 10;
const POD: u32 = 11;
const OTHER_POD: u32 = 21;

fn device(netns: u32, ifindex: u32, kind: DeviceKind) -> Device {
    Device {
        id: DeviceId { netns, ifindex },
        // The same in all namespaces, as eth0 is.
        name: "eth0".to_owned(),
        place: String::new(),
        node: if netns < 20 { "n1" } else { "n2" }.to_owned(),
        kind,
        master: None,
        peer: None,
        lower: None,
        underlay: false,
        endpoint: netns != NODE,
        arrival: netns != NODE,
        mtu: 1500,
        tunnel_port: None,
        qdisc: None,
    }
}

fn spec() -> RunSpec {
    let mut pod = device(POD, 1, DeviceKind::Veth);
    let mut veth = device(NODE, 2, DeviceKind::Veth);
    (pod.peer, veth.peer) = (Some(veth.id), Some(pod.id));
    let mut tunnel = device(NODE, 3, DeviceKind::Vxlan);
    let under = device(NODE, 4, DeviceKind::Physical);
    tunnel.lower = Some(under.id);
    let place = |endpoint: &str, netns| Place {
        endpoint: endpoint.parse().unwrap(),
        pod_uid: None,
        netns,
        address: "198.18.1.2".parse().unwrap(),
    };
    let (client, server) = (place("pod/lab/n1-a", POD), place("pod/lab/n2-a", OTHER_POD));
    RunSpec {
        id: "r1".to_owned(),
        path: Path {
            kind: PathKind::PodToPod,
            from: client.endpoint.clone(),
            to: server.endpoint.clone(),
            network: None,
        },
        test: TestType::UdpRr,
        options: Options {
            seconds: 1.0,
            rounds: 1,
            warmup_ms: 0,
            message_bytes: 1,
            request_bytes: 64,
            response_bytes: 64,
            sample_hz: 0,
            mss_bytes: None,
            datagram_bytes: 1_400,
            rate_bits_per_second: None,
        },
        role: Role::Client,
        client,
        server,
        port: 9480,
        service: None,
        devices: vec![
            pod,
            veth,
            tunnel,
            under,
            device(OTHER_POD, 1, DeviceKind::Veth),
        ],
        count_nodes: vec!["n1".to_owned()],
        sample: false,
    }
}

fn edge(from: (u32, u32, Event), to: (u32, u32, Event), many_segments: bool) -> Edge {
    let hop = |(netns, ifindex, event)| Hop {
        device: DeviceId { netns, ifindex },
        event,
    };
    Edge {
        direction: Direction::Request,
        from: hop(from),
        to: hop(to),
        many_segments,
        packets: 10,
        segments: 10,
        ack_packets: 0,
        bytes: 640,
        sum_ns: 5_000,
        histogram: vec![(511, 10)],
    }
}

fn side() -> RunSide {
    let (start, queue) = (Event::StartXmit, Event::Queue);
    RunSide {
        node: "n1".to_owned(),
        edges: vec![
            edge((POD, 1, start), (NODE, 2, Event::NetifRx), false),
            edge((NODE, 3, start), (NODE, 4, queue), false),
            edge((NODE, 3, start), (NODE, 4, queue), true),
            // Nothing that any table knows.
            edge(
                (NODE, 4, Event::Receive),
                (POD, 1, Event::GroReceive),
                false,
            ),
        ],
        drops: None,
        exemplars: Vec::new(),
        seam_ns: None,
        self_times: vec![SelfTime {
            direction: Direction::Request,
            device: DeviceId {
                netns: NODE,
                ifindex: 3,
            },
            calls: 20,
            bytes: 1_280,
            self_ns: 3_333,
            seams: 0,
        }],
        user_times: Vec::new(),
        http: None,
        tcp: None,
        programs: Vec::new(),
        missing: Vec::new(),
        lost: BTreeMap::new(),
        stacks: None,
    }
}

fn stage<'a>(totals: &'a Totals, name: &str) -> &'a (StageKey, StageTotal) {
    totals
        .stages()
        .iter()
        .find(|(key, _)| key.stage == name)
        .unwrap()
}

#[test]
fn a_run_is_added_stage_by_stage() {
    let mut totals = Totals::default();
    totals.add_side(spec().path.kind, &Way::of(&spec()), &side());
    let (key, encap) = stage(&totals, "encap");
    assert_eq!((key.path, key.side), (PathKind::PodToPod, Side::Client));
    assert_eq!(key.device_kind, Some(DeviceKind::Vxlan));
    assert_eq!(
        (encap.packets, encap.bytes, encap.sum_ns),
        (20, Some(1_280), 10_000)
    );
    assert_eq!(encap.histogram, BTreeMap::from([(511, 20)]));
    assert_eq!(encap.self_ns, Some(3_333));
    let (_, veth) = stage(&totals, "veth");
    assert_eq!((veth.packets, veth.self_ns), (10, None));
}

#[test]
fn an_unknown_order_is_kept_without_its_devices_names() {
    let mut totals = Totals::default();
    totals.add_side(spec().path.kind, &Way::of(&spec()), &side());
    assert_eq!(stage(&totals, UNKNOWN).1.packets, 10);
    assert!(
        totals
            .stages()
            .iter()
            .all(|(key, _)| !key.stage.contains(':'))
    );
}

#[test]
fn runs_add_up() {
    let (mut once, mut twice) = (Totals::default(), Totals::default());
    once.add_side(spec().path.kind, &Way::of(&spec()), &side());
    twice.add_side(spec().path.kind, &Way::of(&spec()), &side());
    twice.add_side(spec().path.kind, &Way::of(&spec()), &side());
    assert_eq!(once.stages().len(), twice.stages().len());
    for ((key, one), (same, two)) in once.stages().iter().zip(twice.stages()) {
        assert_eq!(key, same);
        assert_eq!((2 * one.packets, 2 * one.sum_ns), (two.packets, two.sum_ns));
    }
}
