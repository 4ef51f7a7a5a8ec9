use super::*;
use crate::{
    device::DeviceKind,
    report::{DeviceContext, TestType},
};

fn sample() -> Report {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/tests/data/report.json");
    let mut report: Report = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    // As a CNI sets them.
    for device in devices(&mut report) {
        if device.kind != DeviceKind::Loopback
            && device.name != "mgmt0"
            && device.place.starts_with("pod/")
        {
            device.mtu = 1450;
        }
    }
    report
}

fn devices(report: &mut Report) -> impl Iterator<Item = &mut DeviceContext> {
    let nodes = report.context.nodes.iter_mut();
    nodes.flat_map(|node| &mut node.devices)
}

fn device<'a>(report: &'a mut Report, place: &str, name: &str) -> &'a mut DeviceContext {
    devices(report)
        .find(|device| device.place == place && device.name == name)
        .unwrap()
}

fn switch_off(device: &mut DeviceContext, offload: &str) {
    let offloads = device.offloads.as_mut().unwrap();
    let before = offloads.len();
    offloads.retain(|name| name != offload);
    assert_eq!(offloads.len(), before - 1, "{offload} was not on");
}

/// Rule, place and device of what is found on the path over vxlan.
fn found(report: &Report) -> Vec<(String, String, String)> {
    // Both directions, so that both nodes send on the wire.
    let over_vxlan = |run: &&Run| run.path.network.is_some() && run.test == TestType::TcpRr;
    let run = report.runs.iter().find(over_vxlan).unwrap();
    let found = findings(report, [run]);
    for finding in &found {
        assert!(!finding.what.is_empty() && !finding.remedy.is_empty());
    }
    found
        .into_iter()
        .map(|it| (it.rule.to_owned(), it.place, it.device))
        .collect()
}

fn row(rule: &str, place: &str, device: &str) -> (String, String, String) {
    (rule.to_owned(), place.to_owned(), device.to_owned())
}

#[test]
fn a_path_as_it_should_be_has_nothing() {
    assert_eq!(found(&sample()), []);
}

#[test]
fn each_offload_that_is_off_is_found_where_it_is() {
    for (rule, place, name, offload) in [
        (
            "segmented-before-encapsulation",
            "node/n1",
            "flannel.1",
            "tx-tcp-segmentation",
        ),
        (
            "checksums-before-encapsulation",
            "node/n2",
            "flannel.1",
            "tx-checksum-ip-generic",
        ),
        (
            "tunnel-segmented-in-software",
            "node/n1",
            "eth0",
            "tx-udp_tnl-segmentation",
        ),
        (
            "segmented-early",
            "pod/lab/n1-a",
            "eth0",
            "tx-tcp-segmentation",
        ),
        ("segmented-early", "node/n2", "cni0", "tx-scatter-gather"),
        ("not-merged", "node/n2", "flannel.1", "rx-gro"),
    ] {
        let mut report = sample();
        switch_off(device(&mut report, place, name), offload);
        assert_eq!(found(&report), [row(rule, place, name)], "{offload}");
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let mut report = sample();
    device(&mut report, "pod/lab/n1-a", "eth0").mtu = 1500;
    // The route says less, as the size of TCP's segments shows.
    assert_eq!(found(&report), [row("mtu-differs", "pod/lab/n1-a", "eth0")]);
    for tcp in report.runs.iter_mut().filter_map(|run| run.tcp.as_mut()) {
        tcp.mss_bytes = 1448;
    }
    assert_eq!(
        found(&report),
        [
            row("mtu-differs", "pod/lab/n1-a", "eth0"),
            row("mtu-over-tunnel", "pod/lab/n1-a", "eth0"),
        ]
    );
    let mut report = sample();
    device(&mut report, "node/n1", "eth0").mtu = 1499;
    let fragmented = row("fragmented-after-encapsulation", "node/n1", "flannel.1");
    let differs = row("mtu-differs", "node/n1", "eth0");
    assert_eq!(found(&report), [fragmented, differs.clone()]);
    device(&mut report, "node/n1", "eth0").mtu = 9000;
    let unused = row("mtu-unused", "node/n1", "flannel.1");
    assert_eq!(found(&report), [differs.clone(), unused]);
    device(&mut report, "node/n1", "eth0").mtu = 1599;
    assert_eq!(found(&report), [differs]);
}

#[test]
fn a_pod_and_a_node_must_differ() {
    let mut report = sample();
    for run in &mut report.runs {
        run.path.to = "node/n2".parse().unwrap();
    }
    assert_eq!(found(&report), []);
}

#[test]
fn a_services_end_is_its_backend() {
    let mut report = sample();
    device(&mut report, "pod/lab/n2-a", "eth0").mtu = 1400;
    for run in &mut report.runs {
        run.backend = Some(run.path.to.clone());
        run.path.to = "service/lab/echo".parse().unwrap();
    }
    assert_eq!(found(&report), [row("mtu-differs", "pod/lab/n1-a", "eth0")]);
}

#[test]
fn a_device_beside_the_path_is_nobodys_concern() {
    let mut report = sample();
    switch_off(
        device(&mut report, "pod/lab/n1-b", "eth0"),
        "tx-tcp-segmentation",
    );
    switch_off(
        device(&mut report, "node/n1", "mgmt0"),
        "tx-tcp-segmentation",
    );
    assert_eq!(found(&report), []);
}

#[test]
fn what_the_kernel_does_not_tell_is_not_off() {
    let mut report = sample();
    devices(&mut report).for_each(|device| device.offloads = None);
    assert_eq!(found(&report), []);
}

#[test]
fn each_rule_is_documented() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/findings.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rules = include_str!("rules.rs");
    let names = rules
        .split("finding(\n")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1));
    let names: std::collections::BTreeSet<_> = names.collect();
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        assert!(
            page.contains(&format!("| `{name}` |")),
            "{name} is not in docs/findings.md"
        );
    }
}
