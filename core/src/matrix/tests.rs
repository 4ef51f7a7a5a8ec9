//! Matrices of made-up runs on the lab's inventory.

use super::*;
use crate::{
    api::Inventory,
    plan::{PlanError, tests::inventory},
    report::{NodeContext, TollMetric},
    toll::{self, tests::run},
};

fn asked() -> Asked {
    Asked {
        preset: None,
        tests: vec![TestType::TcpRr, TestType::TcpStream],
        paths: vec![PathKind::HostToHost, PathKind::PodToPod],
        network: "both".to_owned(),
        from_node: None,
        to_node: None,
        mss_bytes: Vec::new(),
        rate_bits_per_second: None,
        seconds: 2.0,
        pairs: 10,
    }
}

fn planned(asked: Asked, inventory: &Inventory) -> Result<Matrix, PlanError> {
    Matrix::plan(asked, inventory, |_| &inventory.networks)
}

fn labels(matrix: &Matrix) -> Vec<String> {
    matrix.cells.iter().map(Cell::label).collect()
}

/// The report of a cell's job, with its baseline where it has one.
fn report(cell: &Cell, id: &str, boot_id: &str) -> Report {
    let mut own = run(id, cell.path.kind, cell.test, 12, 2.0, &[false]);
    own.path = cell.path.clone();
    let mut runs = vec![own];
    let mut tolls = Vec::new();
    if let Some(kind) = cell.path.kind.baseline() {
        let baseline = run(&format!("{id}-b"), kind, cell.test, 12, 1.0, &[false]);
        tolls = toll::tolls(&runs[0], &baseline).tolls;
        runs.push(baseline);
    }
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        context: Context {
            nettoll_version: "0".to_owned(),
            started: String::new(),
            command: Vec::new(),
            nodes: vec![NodeContext {
                node: "n1".to_owned(),
                agent_version: "0".to_owned(),
                kernel: "6.18".to_owned(),
                boot_id: boot_id.to_owned(),
                cpu_model: "x".to_owned(),
                cpus: 2,
                clock_source: "tsc".to_owned(),
                cni: None,
                devices: Vec::new(),
            }],
        },
        runs,
        tolls,
    }
}

#[test]
fn cells_are_tests_by_paths_by_networks() {
    let matrix = planned(asked(), &inventory()).unwrap();
    assert_eq!(
        labels(&matrix),
        [
            "tcp_rr host-to-host",
            "tcp_rr pod-to-pod (vxlan)",
            "tcp_rr pod-to-pod (host-gw)",
            "tcp_stream host-to-host",
            "tcp_stream pod-to-pod (vxlan)",
            "tcp_stream pod-to-pod (host-gw)",
        ]
    );
    assert!(matrix.missing.is_empty());
    let job = matrix.job(&matrix.cells[2]);
    assert_eq!(job.network.as_deref(), Some("host-gw"));
    assert_eq!(job.to.to_string(), "pod/lab/n2-a");
    assert_eq!((job.options.seconds, job.options.rounds), (2.0, 10));
    let runs: Vec<_> = matrix.cells.iter().map(Cell::runs).collect();
    assert_eq!(runs, [1, 2, 2, 1, 2, 2]);
}

#[test]
fn what_cannot_be_measured_is_missing_and_the_rest_is_not() {
    let asked = Asked {
        paths: vec![PathKind::External, PathKind::Loopback, PathKind::Hairpin],
        tests: vec![TestType::PathCost],
        ..asked()
    };
    let matrix = planned(asked.clone(), &inventory()).unwrap();
    assert_eq!(labels(&matrix), ["path_cost loopback"]);
    let missing: Vec<_> = matrix.missing.iter().map(|m| m.what.as_str()).collect();
    assert_eq!(missing, ["path_cost external", "path_cost hairpin"]);
    assert!(matrix.missing[1].reason.contains("cannot be measured to"));
    let nothing = Asked {
        paths: vec![PathKind::External],
        ..asked
    };
    let told = planned(nothing, &inventory()).unwrap_err();
    assert_eq!(told, PlanError::NoEnds(PathKind::External));
}

#[test]
fn presets_have_rows_and_columns() {
    let of = |preset| Asked {
        preset: Some(preset),
        tests: Vec::new(),
        paths: Vec::new(),
        ..asked()
    };
    let one = ["vxlan".to_owned()];
    let cni = Matrix::plan(of(Preset::Cni), &inventory(), |_| &one).unwrap();
    assert_eq!(cni.asked.preset.unwrap().absent().count(), 1);
    assert_eq!(cni.cells.len(), 4 * 2);
    let third = &cni.cells[2];
    assert_eq!(third.row.as_deref(), Some("pod to remote pod"));
    assert_eq!(third.label(), "tcp_stream pod-to-pod (vxlan)");
    let flannel = planned(of(Preset::Flannel), &inventory()).unwrap();
    assert_eq!(
        labels(&flannel),
        labels(
            &planned(
                Asked {
                    tests: vec![TestType::TcpStream, TestType::TcpRr],
                    ..asked()
                },
                &inventory(),
            )
            .unwrap()
        )
    );
    assert_eq!(flannel.cells[0].row.as_deref(), Some("host"));
    for preset in Preset::ALL {
        assert_eq!(preset.as_str().parse(), Ok(preset));
    }
    assert!("x".parse::<Preset>().unwrap_err().contains("cni, flannel"));
}

#[test]
fn segment_sizes_are_swept_in_streams_alone() {
    let asked = Asked {
        mss_bytes: vec![96, 1440],
        paths: vec![PathKind::HostToHost],
        ..asked()
    };
    let matrix = planned(asked.clone(), &inventory()).unwrap();
    assert_eq!(
        labels(&matrix),
        [
            "tcp_rr host-to-host",
            "tcp_stream host-to-host MSS 96",
            "tcp_stream host-to-host MSS 1440",
        ]
    );
    assert_eq!(matrix.job(&matrix.cells[0]).options.mss_bytes, None);
    assert_eq!(matrix.job(&matrix.cells[1]).options.mss_bytes, Some(96));
    let other = Asked {
        mss_bytes: vec![96, 1376],
        ..asked
    };
    let told = planned(other, &inventory()).unwrap().resumed(matrix);
    let told = told.unwrap_err().to_string();
    assert!(told.contains("mss_bytes: [96,1440] then"), "{told}");
}

#[test]
fn perf_tests_has_its_rows() {
    let preset = Preset::PerfTests;
    let asked = Asked {
        preset: Some(preset),
        tests: Vec::new(),
        paths: Vec::new(),
        mss_bytes: preset.mss_bytes(),
        ..asked()
    };
    let one = ["vxlan".to_owned()];
    let matrix = Matrix::plan(asked, &inventory(), |_| &one).unwrap();
    // The service has no port of UDP with a backend.
    let missing: Vec<_> = matrix.missing.iter().map(|it| it.what.as_str()).collect();
    assert_eq!(
        missing,
        [
            "12 iperf UDP. Same VM using Virtual IP",
            "14 iperf UDP. Remote VM using Virtual IP"
        ]
    );
    assert_eq!(matrix.cells.len(), 5 * 22 + 4 + 2);
    assert_eq!(preset.absent().count(), 5);
    let ends = |row: &str| {
        let of_row = |cell: &&Cell| cell.row.as_deref().is_some_and(|it| it.starts_with(row));
        let cell = matrix.cells.iter().find(of_row).unwrap();
        format!("{} {} {}", cell.path.kind, cell.path.from, cell.path.to)
    };
    for (row, expected) in [
        (
            "1 iperf TCP. Same VM using Pod IP",
            "pod-to-pod-same-node pod/lab/n1-a pod/lab/n1-b",
        ),
        ("2 ", "pod-to-service pod/lab/n1-b service/lab/echo:81"),
        ("3 ", "pod-to-pod pod/lab/n1-a pod/lab/n2-a"),
        ("4 ", "pod-to-service pod/lab/n1-a service/lab/echo"),
        ("5 ", "hairpin pod/lab/n1-a service/lab/echo:81"),
        (
            "17 netperf. Remote VM using Pod IP",
            "pod-to-pod pod/lab/n1-a pod/lab/n2-a",
        ),
    ] {
        assert_eq!(ends(row), expected, "{row}");
    }
}

#[test]
fn a_report_is_of_all_cells_in_their_order() {
    let mut matrix = planned(asked(), &inventory()).unwrap();
    assert_eq!((matrix.next(), matrix.report()), (Some(0), None));
    for at in [1, 0] {
        let report = report(&matrix.cells[at], &format!("r{at}"), "a");
        matrix.measured(at, report).unwrap();
    }
    assert_eq!(matrix.next(), Some(2));
    let whole = matrix.report().unwrap();
    let ids: Vec<_> = whole.runs.iter().map(|run| run.id.as_str()).collect();
    assert_eq!(ids, ["r0", "r1", "r1-b"]);
    assert_eq!(whole.tolls[0].metric, TollMetric::RttMean);
    assert_eq!(whole.context.nodes.len(), 1);
    // Another boot of the node: what it measures does not belong here.
    let other = report(&matrix.cells[2], "r2", "b");
    let told = matrix.measured(2, other).unwrap_err().to_string();
    assert!(told.contains("boot: was 'a', is 'b'"), "{told}");
    assert_eq!(matrix.next(), Some(2));
}

#[test]
fn faults_are_told_and_only_good_cells_are_kept() {
    let mut matrix = planned(asked(), &inventory()).unwrap();
    for at in 0..4 {
        let mut report = report(&matrix.cells[at], &format!("r{at}"), "a");
        for (cell, run) in [(1, 0), (2, 1)] {
            if at == cell {
                report.runs[run].valid = false;
                report.runs[run].invalid_reasons = vec!["steal".to_owned()];
            }
        }
        matrix.measured(at, report).unwrap();
    }
    matrix.failed(3, "no route".to_owned());
    let faults: Vec<_> = matrix.faults().map(|(_, why)| why).collect();
    assert_eq!(
        faults,
        [
            "invalid: steal",
            "its baseline is invalid: steal",
            "no route"
        ]
    );
    assert!(matrix.cells[1].run().is_none() && matrix.cells[2].run().is_some());

    let text = serde_json::to_string(&matrix).unwrap();
    let kept: Matrix = serde_json::from_str(&text).unwrap();
    // A float's last digit may be another one.
    let told = |matrix: &Matrix| -> Vec<_> {
        let faults = matrix.faults().map(|(cell, why)| (cell.label(), why));
        faults.collect()
    };
    assert_eq!(told(&kept), told(&matrix));
    let again = planned(asked(), &inventory()).unwrap();
    let resumed = again.resumed(kept).unwrap();
    let waiting = |cell: &Cell| cell.outcome == Outcome::Waiting;
    let waiting: Vec<_> = resumed.cells.iter().map(waiting).collect();
    assert_eq!(waiting, [false, true, true, true, true, true]);
    assert_eq!(resumed.context, matrix.context);
}

#[test]
fn another_matrix_is_not_gone_on_with() {
    let kept = planned(asked(), &inventory()).unwrap();
    let longer = Asked {
        seconds: 3.0,
        ..asked()
    };
    let longer = planned(longer, &inventory()).unwrap();
    let told = longer.resumed(kept.clone()).unwrap_err().to_string();
    assert!(told.contains("(seconds: 2.0 then, 3.0 now)"), "{told}");
    let mut inventory = inventory();
    inventory.nodes[1].pods.remove(0);
    let moved = planned(asked(), &inventory).unwrap();
    let told = moved.resumed(kept).unwrap_err().to_string();
    assert!(told.contains("pod/lab/n2-a then"), "{told}");
    assert!(told.contains("pod/lab/n2-b now"), "{told}");
}
