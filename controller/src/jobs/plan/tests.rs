//! Plans of the sample inventory.

use nettoll_core::{api::TollJob, endpoint::Path, report::TestType};

use super::*;
use crate::inventory::tests::sample;

fn toll() -> TollJob {
    TollJob {
        from_node: None,
        to_node: None,
        path_cost_networks: vec!["vxlan".into(), "host-gw".into()],
        networks: vec!["vxlan".into()],
        tests: vec![TestType::PathCost, TestType::TcpRr],
        seconds: 5.0,
        pairs: 10,
        sample_hz: 99,
    }
}

fn planned(job: TollJob) -> Result<Plan, PlanError> {
    Plan::new(&sample(), &Job::Toll(job), 7)
}

#[test]
fn runs_of_a_group_have_places_ids_and_ports_of_their_own() {
    let plan = planned(toll()).unwrap();
    assert_eq!(plan.warnings, [""; 0]);
    assert_eq!(plan.nodes().into_iter().collect::<Vec<_>>(), ["n1", "n2"]);
    let ids: BTreeSet<_> = plan.runs().map(|run| &run.id).collect();
    assert_eq!(ids.len(), plan.runs().count());
    for group in &plan.groups {
        let ports: BTreeSet<_> = group
            .runs
            .iter()
            .map(|run| (&run.server.node, run.port))
            .collect();
        assert_eq!(ports.len(), group.runs.len());
    }
    let cross = plan.groups[1].runs.last().unwrap();
    assert_eq!(cross.id, "pod-to-pod-vxlan-tcp_rr-9-00000007");
    assert_eq!(cross.client.address.to_string(), "198.18.101.2");
    assert_eq!(cross.client.node_address.to_string(), "198.18.0.1");
    assert_eq!((cross.server.node.as_str(), cross.port), ("n2", 9481));
}

#[test]
fn no_id_is_too_long_or_has_strange_characters() {
    let path = Path {
        kind: nettoll_core::endpoint::PathKind::PodToPodSameNode,
        from: "node/n1".parse().unwrap(),
        to: "node/n1".parse().unwrap(),
        network: Some("a network/with é and far too long a name for anybody".into()),
    };
    let id = run_id(&path, TestType::TcpStream, 12, u32::MAX);
    assert!(
        id.len() <= 64 && id.ends_with("-tcp_stream-12-ffffffff"),
        "{id}"
    );
    assert!(
        id.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    );
}

#[test]
fn no_run_is_silent_for_as_long_as_an_agent_waits() {
    let plan = planned(TollJob {
        seconds: 600.0,
        ..toll()
    })
    .unwrap();
    assert_eq!(plan.warnings.len(), 2);
    for group in &plan.groups {
        let blocks = group.blocks(ProbeMode::Both, 0, 1).unwrap();
        let rounds: Vec<_> = blocks
            .take(group.pairs_of_rounds() as usize)
            .flatten()
            .collect();
        for run in 0..group.runs.len() {
            let mut silent = 0.0;
            for round in &rounds {
                silent += group.runs[0].traffic_seconds(round.seconds) + ROUND_OVERHEAD_SECONDS;
                if round.run == run {
                    assert!(silent < RUN_IDLE_SECONDS as f64, "{silent} s");
                    silent = 0.0;
                }
            }
        }
    }
}

#[test]
fn what_is_refused_takes_its_comparisons_along() {
    let plan = planned(toll()).unwrap();
    let group = plan.groups[0].kept(PlannedRun::one_node);
    let kinds: Vec<_> = group
        .runs
        .iter()
        .map(|run| run.path.kind.as_str())
        .collect();
    assert_eq!(kinds, ["loopback", "pod-to-pod-same-node"]);
    assert_eq!(group.pairs, [(1, 0)]);
}

#[test]
fn jobs_that_cannot_run_are_refused() {
    let told = |job| planned(job).unwrap_err().to_string();
    assert!(told(TollJob { pairs: 3, ..toll() }).contains("at least 10"));
    let unknown = TollJob {
        networks: vec!["ipip".into()],
        ..toll()
    };
    assert!(told(unknown).contains("there are vxlan, host-gw"));
    assert!(
        told(TollJob {
            seconds: 1e300,
            ..toll()
        })
        .contains("3600 s")
    );
    let many = TollJob {
        path_cost_networks: vec!["vxlan".into(); 11],
        ..toll()
    };
    assert!(told(many).contains("50 ms is too long for 14 interleaved paths"));
    let mut ports = Ports::default();
    let ten: Result<BTreeSet<_>, _> = (0..10).map(|_| ports.next("n2")).collect();
    assert_eq!(ten.unwrap().len(), 10);
    assert!(
        ports
            .next("n2")
            .unwrap_err()
            .to_string()
            .contains("end at node n2")
    );
    assert!(ports.next("n1").is_ok());
}
