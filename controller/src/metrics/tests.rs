//! What a canned report leaves in the exposition.

use nettoll_core::{
    api::{JobResult, Stacks},
    device::DeviceKind,
    endpoint::PathKind,
    hop::{Direction, Side},
    report::{
        Context, Cpu, Distribution, Estimate, Options, Probe, ProbeCost, Report, SCHEMA, Share,
        Stage, StageClass, Toll, TollMetric,
    },
};

use super::*;

fn path() -> Path {
    Path {
        kind: PathKind::PodToPod,
        from: "pod/lab/n1-a".parse().unwrap(),
        to: "pod/lab/n2-a".parse().unwrap(),
        network: Some("vxlan".into()),
    }
}

/// A stage of ten packets that took 900 ns each.
pub(crate) fn stage(name: &str, class: Option<StageClass>) -> Stage {
    Stage {
        side: Some(Side::Client),
        direction: Direction::Request,
        stage: name.into(),
        class,
        device: Some("flannel.1".into()),
        device_kind: Some(DeviceKind::Vxlan),
        derived: false,
        packets: Some(10),
        segments: Some(10),
        ack_packets: Some(0),
        bytes: Some(640),
        mean_ns: 900.0,
        p50_ns: None,
        p99_ns: None,
        histogram: Some(vec![(959, 8)]),
        histogram_many_segments: Some(vec![(1_023, 2)]),
        cpu_ns_per_packet: None,
        cpu_ns_per_byte: None,
    }
}

fn run(valid: bool) -> Run {
    Run {
        id: "r".into(),
        path: path(),
        backend: None,
        http: None,
        test: TestType::TcpRr,
        options: Options {
            seconds: 1.0,
            rounds: 10,
            warmup_ms: 0,
            message_bytes: 1,
            request_bytes: 64,
            response_bytes: 64,
            sample_hz: 100,
            mss_bytes: None,
            datagram_bytes: 1_400,
            rate_bits_per_second: None,
        },
        valid,
        invalid_reasons: Vec::new(),
        rounds: vec![nettoll_core::report::Round {
            pair: 0,
            sequence: 0,
            probe: true,
            seconds: 1.0,
            bytes: None,
            transactions: Some(1_000),
            lost: Some(2),
            throughput_bits_per_second: None,
            rtt_mean_ns: None,
            rtt_p50_ns: None,
            cpu_busy_seconds: None,
            invalid_reason: None,
            disturbed: false,
        }],
        throughput_bits_per_second: Some(Estimate {
            mean: 8e9,
            ci95: None,
        }),
        transactions_per_second: None,
        rtt_ns: Some(Distribution {
            mean: 30_000.0,
            p50: 30_000.0,
            p90: 30_000.0,
            p99: 40_000.0,
            p999: 40_000.0,
            max: 40_000,
            count: 1_000,
            histogram: vec![(30_079, 1_000)],
        }),
        lost: Some(2),
        cpu: Cpu {
            local: None,
            remote: None,
            shared: true,
        },
        tcp: None,
        udp: None,
        drops: None,
        exemplars: None,
        stages: Some(vec![
            stage("encap", Some(StageClass::Work)),
            stage("receive@eth0->queue@x0", None),
        ]),
        components: Some(vec![Share {
            name: "encap".into(),
            samples: 250,
            share: 0.1,
            share_ci95: [0.0, 1.0],
            ns_per_byte: None,
            ns_per_packet: None,
            exact_ns_per_byte: None,
        }]),
        regions: None,
        closure: Some(0.98),
        probe: Probe {
            programs: Vec::new(),
            missing: Vec::new(),
            lost: [].into(),
            cost: ProbeCost {
                ratio: None,
                ci95: None,
                metric: None,
            },
        },
    }
}

fn toll(baseline: PathKind, ratio: f64) -> Toll {
    Toll {
        path: path(),
        baseline: Path {
            kind: baseline,
            network: None,
            ..path()
        },
        run_id: "r".into(),
        baseline_run_id: "b".into(),
        test: TestType::TcpRr,
        metric: TollMetric::RttMean,
        ratio,
        ci95: [ratio / 1.2, ratio * 1.2],
        overhead_percent: 0.0,
        resolved: true,
        pairs: 10,
    }
}

fn recorded(runs: Vec<Run>) -> String {
    let metrics = Metrics::new();
    let report = Report {
        schema: SCHEMA.into(),
        context: Context {
            nettoll_version: String::new(),
            started: String::new(),
            command: Vec::new(),
            nodes: Vec::new(),
        },
        runs,
        tolls: vec![
            toll(PathKind::HostToHost, 1.5),
            toll(PathKind::Loopback, 3.0),
        ],
    };
    let stacks = [(
        "r".to_owned(),
        Stacks {
            hz: 100,
            ..Stacks::default()
        },
    )]
    .into();
    metrics.record(&JobResult { report, stacks }, |endpoint| {
        if endpoint == &path().from { "n1" } else { "n2" }.to_owned()
    });
    metrics.text()
}

const EDGE: &str = r#"path="pod-to-pod",network="vxlan",from_node="n1",to_node="n2",from_zone="",to_zone="",test="tcp_rr""#;

#[test]
fn a_valid_run_is_in_all_families() {
    let text = recorded(vec![run(true)]);
    let zones = r#"path="pod-to-pod",network="vxlan",from_zone="",to_zone="",test="tcp_rr""#;
    let staged = format!(r#"{zones},side="client",direction="request""#);
    for line in [
        format!("nettoll_up{{{EDGE}}} 1"),
        format!("nettoll_rtt_p50_seconds{{{EDGE}}} 0.00003"),
        format!("nettoll_rtt_p99_seconds{{{EDGE}}} 0.00004"),
        format!("nettoll_requests_total{{{EDGE}}} 1000"),
        format!("nettoll_lost_total{{{EDGE}}} 2"),
        format!("nettoll_closure_ratio{{{EDGE}}} 0.98"),
        format!("nettoll_throughput_bytes_per_second{{{EDGE}}} 1000000000"),
        format!(r#"nettoll_toll_ratio{{{EDGE},metric="rtt_mean"}} 1.5"#),
        format!(r#"nettoll_toll_interval_ratio{{{EDGE},metric="rtt_mean"}} 1.2"#),
        r#"nettoll_tests_total{test="tcp_rr",outcome="valid"} 1"#.to_owned(),
        r#"nettoll_component_cpu_seconds_total{path="pod-to-pod",network="vxlan",component="encap"} 2.5"#.to_owned(),
        format!("nettoll_rtt_seconds_sum{{{zones}}} 0.03"),
        format!(r#"nettoll_rtt_seconds_bucket{{{zones},le="5e-05"}} 1000"#),
        format!(r#"nettoll_stage_latency_seconds_bucket{{{staged},stage="encap",device_kind="vxlan",le="1e-06"}} 8"#),
        format!(r#"nettoll_stage_latency_seconds_count{{{staged},stage="unknown",device_kind="vxlan"}} 10"#),
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} is not in\n{text}");
    }
    assert!(
        text.contains("nettoll_last_success_timestamp_seconds{"),
        "{text}"
    );
}

#[test]
fn an_invalid_run_is_counted_and_not_shown() {
    let text = recorded(vec![run(false)]);
    assert!(
        text.contains(&format!("nettoll_up{{{EDGE}}} 0\n")),
        "{text}"
    );
    assert!(
        text.contains(r#"nettoll_tests_total{test="tcp_rr",outcome="invalid"} 1"#),
        "{text}"
    );
    for absent in [
        "nettoll_rtt_seconds",
        "nettoll_rtt_p50",
        "nettoll_stage_latency_seconds",
        "last_success",
    ] {
        let shown = text
            .lines()
            .any(|line| line.contains(absent) && !line.starts_with('#'));
        assert!(!shown, "{absent} is in\n{text}");
    }
}
