//! Exact self times and samples in the report.

use nettoll_core::{
    api::Stack,
    device::{DeviceId, DeviceKind},
    hop::{Direction, Edge, Event, Hop, SelfTime},
};

use super::*;

fn device(ifindex: u32, kind: DeviceKind) -> Device {
    Device {
        id: DeviceId { netns: 1, ifindex },
        name: "eth0".into(),
        place: "node/n1".into(),
        node: "n1".into(),
        kind,
        master: None,
        peer: None,
        lower: None,
        underlay: true,
        endpoint: true,
        arrival: true,
        mtu: 1_500,
        tunnel_port: None,
        qdisc: None,
    }
}

#[test]
fn the_exact_measure_of_encap_holds_acks_and_no_other_device() {
    let devices = [
        device(2, DeviceKind::Vxlan),
        device(3, DeviceKind::Physical),
    ];
    let time = |ifindex, direction, bytes, self_ns| SelfTime {
        direction,
        device: DeviceId { netns: 1, ifindex },
        calls: 10,
        bytes,
        self_ns,
        seams: 4,
    };
    let mut client = run_side("n1", 0);
    client.seam_ns = Some(25.0);
    client.self_times = vec![
        time(2, Direction::Request, 10_000, 900),
        time(3, Direction::Request, 10_000, 5_000),
    ];
    client.stacks = Some(Stacks {
        hz: 100,
        stacks: vec![Stack {
            thread: "t".into(),
            frames: vec!["vxlan_xmit".into()],
            samples: 1,
        }],
        ..Stacks::default()
    });
    let mut server = run_side("n2", 0);
    server.seam_ns = Some(5.0);
    server.self_times = vec![time(2, Direction::Response, 0, 100)];
    let finished = FinishedRun {
        client,
        server: Some(server),
    };
    let run = joined_of(TestType::TcpStream, &finished, &devices, |inputs, _| {
        inputs.one_kernel = true;
    });
    let bytes: u64 = run
        .rounds
        .iter()
        .filter(|round| round.probe)
        .filter_map(|round| round.bytes)
        .sum();
    let exact = |name: &str| {
        let mut regions = run.regions.iter().flatten();
        let region = regions.find(|region| region.name == name).unwrap();
        region.exact_ns_per_byte
    };
    assert_eq!(exact("encap"), Some((800.0 + 80.0) / bytes as f64));
    assert_eq!(exact("decap"), None);
    let components = run.components.unwrap();
    assert!(components.iter().all(|c| c.exact_ns_per_byte.is_none()));
}

#[test]
fn samples_of_two_kernels_are_added_and_told_per_packet() {
    let device = device(2, DeviceKind::Physical);
    let id = device.id;
    let edge = |direction, from, to| Edge {
        direction,
        from: Hop {
            device: id,
            event: from,
        },
        to: Hop {
            device: id,
            event: to,
        },
        many_segments: false,
        packets: 1_000,
        segments: 1_000,
        ack_packets: 0,
        bytes: 64_000,
        sum_ns: 1_000_000,
        histogram: vec![(1_023, 1_000)],
    };
    let stacks = |frame: &str| Stacks {
        hz: 100,
        source: "cpu-clock".into(),
        cpus: 2,
        lost: [("missed".to_owned(), 1)].into(),
        stacks: vec![Stack {
            thread: "t".into(),
            frames: vec![frame.into()],
            samples: 10,
        }],
    };
    let mut client = run_side("n1", 0);
    client.edges = vec![
        edge(Direction::Request, Event::Queue, Event::StartXmit),
        edge(Direction::Request, Event::StartXmit, Event::Xmit),
        edge(Direction::Response, Event::Queue, Event::StartXmit),
    ];
    client.stacks = Some(stacks("tcp_sendmsg"));
    let mut server = run_side("n2", 0);
    server.stacks = Some(stacks("default_idle"));
    let finished = FinishedRun {
        client,
        server: Some(server),
    };

    let all = super::super::samples::all(&finished).unwrap();
    assert_eq!((all.cpus, all.stacks.len(), all.lost["missed"]), (4, 2, 2));
    let run = joined_of(TestType::TcpRr, &finished, &[device], |_, _| {});
    let components = run.components.unwrap();
    let tcp = components.iter().find(|share| share.name == "tcp").unwrap();
    // 10 samples of 10 ms for 1,000 requests.
    assert_eq!(
        (tcp.samples, tcp.share, tcp.ns_per_packet),
        (10, 0.5, Some(100_000.0))
    );
    assert_eq!(tcp.ns_per_byte, None);
    let busy = |side: Option<nettoll_core::report::CpuSide>| side.unwrap().utilisation;
    assert_eq!((busy(run.cpu.local), busy(run.cpu.remote)), (1.0, 0.0));
}
