//! Joining alone: what canned answers of agents become in the report.

use nettoll_core::{
    api::{Job, ProbeMode, RoundSpec, Stack, TestJob},
    device::{DeviceId, DeviceKind},
    histogram::{Histogram, USER_SUB_BITS},
    hop::{Direction, Edge, Event, Hop, SelfTime},
    report::Options,
};

use super::*;
use crate::{
    inventory::tests::sample,
    jobs::{plan::Plan, sides::Sides},
};

fn planned(test: TestType) -> PlannedRun {
    let job = TestJob {
        from: "node/n1".parse().unwrap(),
        to: "node/n2".parse().unwrap(),
        network: None,
        test,
        options: Options {
            seconds: 10.0,
            rounds: 10,
            warmup_ms: 0,
            message_bytes: 131_072,
            request_bytes: 64,
            response_bytes: 64,
            sample_hz: 0,
        },
        against: None,
        probe: ProbeMode::Both,
    };
    let plan = Plan::new(&sample(), &Job::Test(job), 1).unwrap();
    plan.runs().next().unwrap().clone()
}

fn node(name: &str) -> NodeContext {
    NodeContext {
        node: name.into(),
        agent_version: String::new(),
        kernel: String::new(),
        boot_id: String::new(),
        cpu_model: String::new(),
        cpus: 2,
        clock_source: String::new(),
        cni: None,
        devices: Vec::new(),
    }
}

/// A second with 1,000 round trips of `rtt` ns, or as many bytes a round trip.
fn side(rtt: u64) -> RoundSide {
    let mut times = Histogram::new(USER_SUB_BITS);
    times.record_n(rtt, 1_000);
    RoundSide {
        seconds: 1.0,
        bytes: 1_000 * rtt,
        transactions: 1_000,
        rtt: Some(times.to_times()),
        cpu_busy_seconds: Some(0.5),
        cpu_steal_seconds: Some(0.0),
        ..RoundSide::default()
    }
}

fn round(pair: u32, probe: bool, client: RoundSide) -> MeasuredRound {
    let server = RoundSide {
        cpu_busy_seconds: Some(1.0),
        seconds: 1.0,
        ..RoundSide::default()
    };
    MeasuredRound {
        spec: RoundSpec {
            pair,
            sequence: 2 * pair,
            probe,
            calibrate: None,
            seconds: 1.0,
        },
        outcome: Ok(Sides {
            client,
            server: Some(server),
        }),
    }
}

/// Ten pairs: 100 ns without the probe, 110 ns with it.
fn rounds() -> Vec<MeasuredRound> {
    (0..10)
        .flat_map(|pair| [round(pair, false, side(100)), round(pair, true, side(110))])
        .collect()
}

fn run_side(node: &str, lost: u64) -> RunSide {
    RunSide {
        node: node.into(),
        edges: Vec::new(),
        self_times: Vec::new(),
        seam_ns: None,
        user_times: Vec::new(),
        tcp: None,
        programs: Vec::new(),
        lost: [("stale".to_owned(), lost), ("merged".to_owned(), 1)].into(),
        stacks: None,
    }
}

/// Joins a run of two kernels, `change`d before.
fn joined(test: TestType, change: impl FnOnce(&mut Inputs<'_>, &mut Vec<MeasuredRound>)) -> Run {
    let (plan, client, server) = (planned(test), node("n1"), node("n2"));
    let finished = FinishedRun {
        client: run_side("n1", 0),
        server: Some(run_side("n2", 0)),
    };
    let mut rounds = rounds();
    let mut inputs = Inputs {
        plan: &plan,
        one_kernel: false,
        client: &client,
        server: &server,
        devices: &[],
        netns: [1, 2],
        rounds: &[],
        finished: Some(&finished),
        broken: None,
    };
    change(&mut inputs, &mut rounds);
    join(&Inputs {
        rounds: &rounds,
        ..inputs
    })
}

#[test]
fn figures_are_of_the_rounds_with_the_probe() {
    let run = joined(TestType::TcpRr, |_, _| {});
    assert_eq!(run.invalid_reasons, [""; 0]);
    assert!(run.valid);
    let rtt = run.rtt_ns.unwrap();
    assert_eq!((rtt.count, rtt.mean, rtt.max), (10_000, 110.0, 110));
    assert_eq!(run.transactions_per_second.unwrap().mean, 1_000.0);
    assert_eq!((run.throughput_bits_per_second, run.lost), (None, Some(0)));
    assert_eq!(run.rounds.len(), 20);
    assert_eq!(
        (run.rounds[0].probe, run.rounds[0].rtt_mean_ns),
        (false, Some(100.0))
    );
    assert_eq!(
        (run.rounds[0].bytes, run.rounds[0].cpu_busy_seconds),
        (None, Some(1.5))
    );
    assert_eq!((run.stages, run.closure), (None, None));

    let without = joined(TestType::TcpRr, |_, rounds| {
        rounds.retain(|round| !round.spec.probe)
    });
    assert_eq!(without.rtt_ns.unwrap().mean, 100.0);
}

#[test]
fn a_stream_has_bytes_and_no_round_trips() {
    let run = joined(TestType::TcpStream, |_, rounds| {
        for round in rounds {
            if let Ok(sides) = &mut round.outcome {
                (sides.client.rtt, sides.client.transactions) = (None, 0);
            }
        }
    });
    assert!(run.valid, "{:?}", run.invalid_reasons);
    let throughput = run.throughput_bits_per_second.unwrap();
    assert_eq!(
        (throughput.mean, throughput.ci95),
        (880_000.0, Some([880_000.0; 2]))
    );
    assert_eq!(
        (run.transactions_per_second, run.lost, run.rtt_ns),
        (None, None, None)
    );
    assert_eq!(run.rounds[0].transactions, None);
    // Half a second a round on 2 CPUs, for 110,000 bytes each.
    let local = run.cpu.local.unwrap();
    assert_eq!(
        (local.utilisation, local.source.as_str()),
        (0.25, "proc_stat")
    );
    let demand = local.service_demand_ns_per_byte.unwrap();
    assert!((demand - 0.5e9 / 110_000.0).abs() < 1e-6, "{demand}");
}

#[test]
fn processor_time_of_one_kernel_is_told_once() {
    let two = joined(TestType::TcpRr, |_, _| {}).cpu;
    assert_eq!((two.shared, two.remote.unwrap().utilisation), (false, 0.5));
    let one = joined(TestType::TcpRr, |inputs, _| inputs.one_kernel = true);
    assert_eq!((one.cpu.shared, one.cpu.remote.clone()), (true, None));
    assert_eq!(one.rounds[0].cpu_busy_seconds, Some(0.5));
    assert_eq!(
        one.cpu.local.unwrap().service_demand_ns_per_transaction,
        Some(500_000.0)
    );
}

#[test]
fn bad_rounds_are_shown_and_left_out() {
    let run = joined(TestType::TcpRr, |_, rounds| {
        let failed = MeasuredRound {
            outcome: Err("lost".into()),
            ..rounds[1].clone()
        };
        rounds.insert(1, failed);
        let Ok(sides) = &mut rounds[4].outcome else {
            panic!("canned")
        };
        sides.client = RoundSide {
            invalid_reason: Some("steal".into()),
            ..side(9_000)
        };
    });
    assert!(run.valid, "{:?}", run.invalid_reasons);
    assert_eq!(run.rtt_ns.unwrap().max, 110);
    let reasons: Vec<_> = run
        .rounds
        .iter()
        .filter_map(|r| r.invalid_reason.as_deref())
        .collect();
    assert_eq!(reasons, ["lost", "steal"]);
    assert_eq!(run.rounds[1].rtt_mean_ns, None);
}

#[test]
fn what_must_not_be_averaged_in_says_why() {
    let told = |change: &dyn Fn(&mut Inputs<'_>, &mut Vec<MeasuredRound>)| {
        let run = joined(TestType::TcpRr, change);
        assert!(
            !run.valid && run.invalid_reasons.len() == 1,
            "{:?}",
            run.invalid_reasons
        );
        run.invalid_reasons[0].clone()
    };
    let each = |rounds: &mut Vec<MeasuredRound>, change: fn(&mut Sides)| {
        rounds
            .iter_mut()
            .filter_map(|round| round.outcome.as_mut().ok())
            .for_each(change);
    };
    let broken = told(&|inputs, _| inputs.broken = Some("a round failed 2 times: x"));
    assert_eq!(broken, "a round failed 2 times: x");
    let steal = told(&|_, rounds| {
        each(rounds, |sides| {
            sides.server.as_mut().unwrap().cpu_steal_seconds = Some(0.2)
        });
    });
    assert_eq!(
        steal,
        "the hypervisor took 10.0 % of the processor time of node n2"
    );
    let lost = told(&|_, rounds| each(rounds, |sides| sides.client.lost = 20));
    assert_eq!(lost, "200 requests (2.0 %) got no answer");
    let few = told(&|_, rounds| {
        each(rounds, |sides| {
            sides.client.rtt.as_mut().unwrap().histogram[0].1 = 3
        });
    });
    assert!(few.starts_with("30 round trips are too few"), "{few}");
    let bad = told(&|_, rounds| {
        for round in rounds.iter_mut().take(6) {
            round.outcome = Err("timeout".into());
        }
    });
    assert_eq!(
        bad,
        "6 of 20 rounds are no good, the first because: timeout"
    );
}

#[test]
fn what_the_probes_lost_is_added_up_by_reason() {
    let finished = FinishedRun {
        client: run_side("n1", 2),
        server: Some(run_side("n2", 3)),
    };
    let probe = probe(Some(&finished));
    assert_eq!(
        probe.lost,
        [("stale".to_owned(), 5), ("merged".to_owned(), 2)].into()
    );
    let (plan, client, server, rounds) =
        (planned(TestType::TcpRr), node("n1"), node("n2"), rounds());
    let run = join(&Inputs {
        plan: &plan,
        one_kernel: false,
        client: &client,
        server: &server,
        devices: &[],
        netns: [1, 2],
        rounds: &rounds,
        finished: Some(&finished),
        broken: None,
    });
    assert_eq!(
        run.invalid_reasons,
        ["the probe lost 5 hops (100.0 %); see probe.lost"]
    );
}

#[test]
fn tolls_are_of_valid_runs_without_the_probe() {
    let slower = |_: &mut Inputs<'_>, rounds: &mut Vec<MeasuredRound>| {
        for round in rounds.iter_mut().filter(|round| !round.spec.probe) {
            let Ok(sides) = &mut round.outcome else {
                panic!("canned")
            };
            sides.client = side(120);
        }
    };
    let mut measured = Measured {
        runs: vec![
            joined(TestType::TcpRr, slower),
            joined(TestType::TcpRr, |_, _| {}),
        ],
        ..Measured::default()
    };
    assert_eq!(measured.compare(&[(0, 1)]), [""; 0]);
    let mean = &measured.tolls[0];
    assert!(
        (mean.ratio - 1.2).abs() < 1e-9 && mean.resolved && mean.pairs == 10,
        "{mean:?}"
    );

    measured.tolls.clear();
    measured.runs[1].valid = false;
    let told = measured.compare(&[(0, 1)]);
    assert!(
        told[0].contains("is invalid") && measured.tolls.is_empty(),
        "{told:?}"
    );
}

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
        mtu: 1_500,
        vxlan_port: None,
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
    let (plan, client, server, rounds) = (
        planned(TestType::TcpStream),
        node("n1"),
        node("n2"),
        rounds(),
    );
    let run = join(&Inputs {
        plan: &plan,
        one_kernel: true,
        client: &client,
        server: &server,
        devices: &devices,
        netns: [1, 2],
        rounds: &rounds,
        finished: Some(&finished),
        broken: None,
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

    let all = samples::all(&finished).unwrap();
    assert_eq!((all.cpus, all.stacks.len(), all.lost["missed"]), (4, 2, 2));
    let (plan, client, server, rounds) =
        (planned(TestType::TcpRr), node("n1"), node("n2"), rounds());
    let run = join(&Inputs {
        plan: &plan,
        one_kernel: false,
        client: &client,
        server: &server,
        devices: &[device],
        netns: [1, 2],
        rounds: &rounds,
        finished: Some(&finished),
        broken: None,
    });
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
