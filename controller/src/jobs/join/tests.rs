//! Joining alone: what canned answers of agents become in the report.

use nettoll_core::{
    api::{Job, ProbeMode, RoundSpec, TestJob},
    histogram::{Histogram, USER_SUB_BITS},
    kernel::Reason,
    report::Options,
};

use super::*;
use crate::{
    inventory::tests::sample,
    jobs::{plan::Plan, sides::Sides},
};

mod samples;
mod validity;

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
            mss_bytes: None,
            datagram_bytes: 1_400,
            rate_bits_per_second: None,
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
    rounds_of(0..10)
}

fn rounds_of(pairs: std::ops::Range<u32>) -> Vec<MeasuredRound> {
    pairs
        .flat_map(|pair| [round(pair, false, side(100)), round(pair, true, side(110))])
        .collect()
}

fn run_side(node: &str, lost: u64) -> RunSide {
    RunSide {
        node: node.into(),
        edges: Vec::new(),
        self_times: Vec::new(),
        drops: None,
        seam_ns: None,
        user_times: Vec::new(),
        exemplars: Vec::new(),
        http: None,
        tcp: None,
        programs: Vec::new(),
        missing: Vec::new(),
        lost: [("stale".to_owned(), lost), ("merged".to_owned(), 1)].into(),
        stacks: None,
    }
}

/// Joins a run of two kernels, `change`d before.
fn joined(test: TestType, change: impl FnOnce(&mut Inputs<'_>, &mut Vec<MeasuredRound>)) -> Run {
    let finished = FinishedRun {
        client: run_side("n1", 0),
        server: Some(run_side("n2", 0)),
    };
    joined_of(test, &finished, &[], change)
}

/// The same of what the agents gave, over these devices.
fn joined_of(
    test: TestType,
    finished: &FinishedRun,
    devices: &[Device],
    change: impl FnOnce(&mut Inputs<'_>, &mut Vec<MeasuredRound>),
) -> Run {
    let (plan, client, server) = (planned(test), node("n1"), node("n2"));
    let mut rounds = rounds();
    let mut inputs = Inputs {
        plan: &plan,
        one_kernel: false,
        client: &client,
        server: &server,
        devices,
        netns: [1, 2],
        rounds: &[],
        finished: Some(finished),
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
fn what_the_probes_lost_is_added_up_by_reason() {
    let finished = FinishedRun {
        client: run_side("n1", 2),
        server: Some(run_side("n2", 3)),
    };
    let probe = probe(Some(&finished), None);
    assert_eq!(
        probe.lost,
        [("stale".to_owned(), 5), ("merged".to_owned(), 2)].into()
    );
    let run = joined_of(TestType::TcpRr, &finished, &[], |_, _| {});
    assert_eq!(
        run.invalid_reasons,
        ["the probe lost 5 hops (100.0 %); see probe.lost"]
    );
}

#[test]
fn missing_hooks_have_the_stages_that_this_run_lacks() {
    let mut finished = FinishedRun {
        client: run_side("n1", 0),
        server: Some(run_side("n2", 0)),
    };
    let missing = |hook: &str| MissingHook {
        hook: hook.to_owned(),
        node: "n1".to_owned(),
        reason: Reason::LoadRefused,
        detail: "refused".to_owned(),
        stages: Vec::new(),
    };
    finished.client.missing = vec![missing("netif_rx"), missing("kfree_skb")];
    let waterfall = Waterfall {
        stages: Vec::new(),
        closure: None,
        drops: None,
        absent: [("netif_rx", ["veth", "backlog"].into())].into(),
    };
    let probe = probe(Some(&finished), Some(&waterfall));
    let told: Vec<_> = (probe.missing.iter())
        .map(|it| (it.hook.as_str(), it.stages.join(" ")))
        .collect();
    let of = |hook, stages: &str| (hook, stages.to_owned());
    assert_eq!(told, [of("netif_rx", "backlog veth"), of("kfree_skb", "")]);
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
