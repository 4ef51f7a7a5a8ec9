//! Whole pages from known counts.

use nettoll_core::{
    device::DeviceKind,
    endpoint::PathKind,
    hop::{Direction, Side},
    kernel::{HookKind, Reason},
    report::Program,
};

use super::*;

fn page(totals: Totals) -> String {
    let hook = Hook {
        name: "vxlan_xmit",
        kind: HookKind::Fentry,
        required: false,
        stages: Vec::new(),
        purpose: "",
        arguments: None,
        works: false,
        reason: Reason::LoadRefused,
        detail: String::new(),
        remedy: None,
    };
    let mut page = Page::new(Format::OpenMetrics);
    write(&mut page, &totals, &[hook]);
    String::from_utf8(page.finish()).unwrap()
}

fn key(stage: &str) -> StageKey {
    StageKey {
        path: PathKind::PodToPod,
        side: Side::Client,
        direction: Direction::Request,
        stage: stage.to_owned(),
        device_kind: Some(DeviceKind::Vxlan),
    }
}

fn total(histogram: &[(u64, u64)], self_ns: Option<u64>) -> StageTotal {
    StageTotal {
        packets: histogram.iter().map(|(_, count)| count).sum(),
        bytes: Some(640),
        sum_ns: 2_500,
        histogram: histogram.iter().copied().collect(),
        self_ns,
    }
}

#[test]
fn a_stage_has_its_counters_and_its_histogram() {
    let mut totals = Totals::default();
    totals.add(
        key("encap"),
        &total(
            &[(90, 1), (100, 2), (101, 4), (200_000_000, 1)],
            Some(1_500),
        ),
    );
    let page = page(totals);
    let labels =
        r#"path="pod-to-pod",side="client",direction="request",stage="encap",device_kind="vxlan""#;
    for line in [
        format!("nettoll_agent_stage_packets_total{{{labels}}} 8"),
        format!("nettoll_agent_stage_bytes_total{{{labels}}} 640"),
        format!("nettoll_agent_stage_cpu_seconds_total{{{labels}}} 0.0000015"),
        format!("nettoll_agent_stage_latency_seconds_sum{{{labels}}} 0.0000025"),
        format!("nettoll_agent_stage_latency_seconds_count{{{labels}}} 8"),
        format!(r#"nettoll_agent_stage_latency_seconds_bucket{{{labels},le="1e-07"}} 3"#),
        format!(r#"nettoll_agent_stage_latency_seconds_bucket{{{labels},le="3e-07"}} 7"#),
        format!(r#"nettoll_agent_stage_latency_seconds_bucket{{{labels},le="0.1"}} 7"#),
        format!(r#"nettoll_agent_stage_latency_seconds_bucket{{{labels},le="+Inf"}} 8"#),
        r#"nettoll_hook_state{hook="vxlan_xmit",state="unavailable",reason="load_refused",tier="fentry"} 1"#
            .to_owned(),
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn what_was_not_measured_is_absent() {
    let mut totals = Totals::default();
    totals.add(key("forward"), &total(&[(90, 1)], None));
    assert!(!page(totals).contains("stage_cpu_seconds_total{"));
}

#[test]
fn sums_only_grow_and_keep_their_order() {
    let mut totals = Totals::default();
    totals.add(key("veth"), &total(&[(90, 1)], None));
    totals.add(key("bridge"), &total(&[(90, 1)], None));
    totals.add(key("veth"), &total(&[(90, 1), (500, 2)], Some(7)));
    let [(first, veth), (second, _)] = totals.stages() else {
        panic!("two stages")
    };
    assert_eq!(
        (first.stage.as_str(), second.stage.as_str()),
        ("veth", "bridge")
    );
    assert_eq!(
        (veth.packets, veth.sum_ns, veth.self_ns),
        (4, 5_000, Some(7))
    );
    assert_eq!(veth.histogram.get(&90), Some(&2));
}

#[test]
fn a_page_has_at_most_a_thousand_series_and_says_what_it_hides() {
    let mut totals = Totals::default();
    for number in 0..200 {
        totals.add(key(&format!("stage-{number}")), &total(&[(90, 1)], Some(1)));
    }
    for name in 0..20 {
        totals.lost.insert(format!("reason-{name}"), 0);
        totals.programs.push(Program {
            name: format!("program-{name}"),
            node: String::new(),
            kind: None,
            runs: 1,
            matched: 0,
            mean_ns: Some(65.0),
            empty_mean_ns: None,
        });
    }
    let page = page(totals);
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series <= 1_000, "{series}");
    assert!(page.contains("nettoll_agent_stages_hidden 152\n"), "{page}");
}
