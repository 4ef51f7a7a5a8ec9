//! Tolls of made-up runs whose true ratios are known.

use super::*;
use crate::{
    endpoint::{Endpoint, Path, PathKind},
    report::{Cpu, Options, Probe},
};

/// A run with rounds in `pairs`, whose figures are `scale` times those of pair and state.
pub(crate) fn run(
    id: &str,
    kind: PathKind,
    test: TestType,
    pairs: u32,
    scale: f64,
    states: &[bool],
) -> Run {
    let round = |pair: u32, probe: bool| {
        // Rounds of a pair share what disturbs them, up to 1 % that they do not.
        let shared = 1.0 + f64::from(pair % 7) / 10.0;
        let own = 1.0 + f64::from((pair * 13 + scale as u32) % 5) / 500.0;
        let slower = scale * shared * own * if probe { 1.05 } else { 1.0 };
        let rtt = 30_000.0 * slower;
        Round {
            pair,
            sequence: pair,
            probe,
            seconds: 0.5,
            bytes: Some((1e9 / slower) as u64),
            transactions: Some((0.5e9 / rtt) as u64),
            lost: Some(0),
            throughput_bits_per_second: Some(16e9 / slower),
            rtt_mean_ns: Some(rtt),
            rtt_p50_ns: Some(rtt * 0.9),
            cpu_busy_seconds: Some(0.4),
            invalid_reason: None,
            disturbed: false,
        }
    };
    let rounds = (0..pairs).flat_map(|pair| states.iter().map(move |&probe| round(pair, probe)));
    Run {
        id: id.to_owned(),
        path: Path {
            kind,
            from: Endpoint::Node("n1".to_owned()),
            to: Endpoint::Node("n2".to_owned()),
            network: None,
        },
        backend: None,
        http: None,
        test,
        options: Options {
            seconds: 5.0,
            rounds: pairs,
            warmup_ms: 100,
            message_bytes: 131_072,
            request_bytes: 1,
            response_bytes: 1,
            sample_hz: 0,
            mss_bytes: None,
            datagram_bytes: 1_400,
            rate_bits_per_second: None,
        },
        valid: true,
        invalid_reasons: vec![],
        rounds: rounds.collect(),
        throughput_bits_per_second: None,
        transactions_per_second: None,
        rtt_ns: None,
        lost: None,
        cpu: Cpu {
            local: None,
            remote: None,
            shared: true,
        },
        tcp: None,
        udp: None,
        stages: None,
        drops: None,
        exemplars: None,
        components: None,
        regions: None,
        closure: None,
        probe: Probe {
            programs: vec![],
            missing: vec![],
            lost: BTreeMap::new(),
            cost: ProbeCost {
                ratio: None,
                ci95: None,
                metric: None,
            },
        },
    }
}

fn pair(test: TestType, states: &[bool]) -> [Run; 2] {
    [
        run("p", PathKind::PodToPod, test, 12, 2.0, states),
        run("b", PathKind::HostToHost, test, 12, 1.0, states),
    ]
}

#[test]
fn every_metric_of_a_test_has_its_toll() {
    for (test, expected) in [
        (
            TestType::TcpStream,
            vec![
                (TollMetric::Throughput, 0.5, 50.0),
                (TollMetric::CpuNsPerByte, 2.0, 100.0),
            ],
        ),
        (
            TestType::TcpRr,
            vec![
                (TollMetric::RttMean, 2.0, 100.0),
                (TollMetric::RttP50, 2.0, 100.0),
                (TollMetric::Transactions, 0.5, 50.0),
            ],
        ),
        (TestType::PathCost, vec![(TollMetric::PathCost, 2.0, 100.0)]),
    ] {
        let [path, baseline] = pair(test, &[false, true]);
        let found = tolls(&path, &baseline);
        assert_eq!(found.missing, []);
        assert_eq!(found.tolls.len(), expected.len());
        for (toll, (metric, ratio, percent)) in found.tolls.iter().zip(expected) {
            assert_eq!(toll.metric, metric);
            assert!(
                (toll.ratio / ratio - 1.0).abs() < 0.01,
                "{metric:?} {}",
                toll.ratio
            );
            assert!(
                (toll.overhead_percent - percent).abs() < 2.0,
                "{}",
                toll.overhead_percent
            );
            assert!(toll.ci95[0] <= toll.ratio && toll.ratio <= toll.ci95[1]);
            assert!(toll.resolved);
            assert_eq!((toll.pairs, toll.run_id.as_str()), (12, "p"));
        }
    }
}

#[test]
fn tolls_are_of_rounds_without_the_probe_where_both_have_them() {
    let [mut path, baseline] = pair(TestType::PathCost, &[false, true]);
    let before = tolls(&path, &baseline);
    for round in path.rounds.iter_mut().filter(|round| round.probe) {
        round.rtt_mean_ns = Some(1e9);
    }
    assert_eq!(tolls(&path, &baseline), before);
    let [path, _] = pair(TestType::PathCost, &[true]);
    let found = tolls(&path, &baseline);
    assert!(
        (found.tolls[0].ratio - 2.0).abs() < 0.02,
        "both with it: {}",
        found.tolls[0].ratio
    );
}

#[test]
fn an_invalid_round_takes_its_pair_along() {
    let [mut path, mut baseline] = pair(TestType::PathCost, &[false]);
    path.rounds[3].invalid_reason = Some("steal".to_owned());
    path.rounds[3].rtt_mean_ns = Some(1e12);
    baseline.rounds[5].invalid_reason = Some("steal".to_owned());
    baseline.rounds.remove(6);
    // Order is no key: pairs are.
    baseline.rounds.reverse();
    let found = tolls(&path, &baseline);
    assert_eq!(found.tolls.len(), 0, "nine are left");
    let message = found.missing[0].to_string();
    assert!(
        message
            .starts_with("pod-to-pod against host-to-host, path_cost: no path_cost: 9 good pairs"),
        "{message}"
    );
    path.rounds[3].invalid_reason = None;
    path.rounds[3].rtt_mean_ns = baseline
        .rounds
        .iter()
        .find(|r| r.pair == 3)
        .and_then(|r| r.rtt_mean_ns)
        .map(|rtt| 2.0 * rtt);
    let found = tolls(&path, &baseline);
    assert_eq!(found.tolls[0].pairs, 10);
    assert!((found.tolls[0].ratio - 2.0).abs() < 0.02);
}

#[test]
fn a_run_against_itself_does_not_resolve() {
    let [_, baseline] = pair(TestType::TcpRr, &[false]);
    for toll in tolls(&baseline, &baseline).tolls {
        assert!(!toll.resolved);
        assert!(toll.overhead_percent.abs() < 1e-9);
    }
}

#[test]
fn what_was_not_measured_has_no_toll_but_a_reason() {
    let [mut path, baseline] = pair(TestType::TcpStream, &[false]);
    path.rounds
        .iter_mut()
        .for_each(|round| round.cpu_busy_seconds = None);
    let found = tolls(&path, &baseline);
    assert_eq!(found.tolls.len(), 1);
    assert!(
        found.missing[0]
            .to_string()
            .contains("no cpu_ns_per_byte: 0 good pairs")
    );
    let [other, _] = pair(TestType::TcpRr, &[false]);
    let found = tolls(&path, &other);
    assert!(
        found.missing[0]
            .to_string()
            .contains("compare runs of one test")
    );
}

#[test]
fn the_probes_cost_is_with_over_without() {
    let [path, _] = pair(TestType::TcpRr, &[false, true]);
    let cost = probe_cost(&path).unwrap();
    assert!((cost.ratio.unwrap() - 1.05).abs() < 1e-9);
    assert_eq!(cost.metric, Some(TollMetric::RttMean));
    let [path, _] = pair(TestType::TcpStream, &[false, true]);
    let cost = probe_cost(&path).unwrap();
    assert!((cost.ratio.unwrap() - 1.0 / 1.05).abs() < 1e-9);
    let [path, _] = pair(TestType::TcpRr, &[false]);
    assert_eq!(probe_cost(&path).unwrap().ratio, None);
    let few = run(
        "p",
        PathKind::PodToPod,
        TestType::TcpRr,
        5,
        2.0,
        &[false, true],
    );
    assert!(
        probe_cost(&few)
            .unwrap_err()
            .to_string()
            .contains("5 good pairs")
    );
}
