//! The sample report that the tests of rendering use.

use nettoll_core::{
    endpoint::PathKind,
    hop::{Direction, Event, Side},
    matrix::{Asked, Cell, Matrix, Measured, Missing, Outcome, SCHEMA},
    report::{Exemplar, ExemplarHop, Report, Run, TestType},
};

use crate::render::Rendering;

const REPORT: &str = include_str!("../tests/data/report.json");

/// A report of all path kinds of the lab.
pub(crate) fn report() -> Report {
    serde_json::from_str(REPORT).unwrap()
}

/// The same with its stacks.
pub(crate) fn rendering() -> Rendering {
    let report = report();
    let directory = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"));
    let folded = crate::files::folded_beside(&report, directory).unwrap();
    Rendering { report, folded }
}

/// A run whose slowest request was kept, in part.
pub(crate) fn with_exemplar() -> Run {
    let hop = |side, event, at_ns, stage: Option<&str>, stage_ns| ExemplarHop {
        side,
        direction: Direction::Request,
        event,
        device: Some("eth0".to_owned()),
        device_kind: None,
        at_ns,
        stage: stage.map(str::to_owned),
        class: None,
        stage_ns,
    };
    let (client, server) = (Side::Client, Side::Server);
    let hops = vec![
        hop(client, Event::UserSend, 0, None, None),
        hop(client, Event::Queue, 4_000, Some("socket_tx"), Some(4_000)),
        hop(client, Event::StartXmit, 4_500, Some("qdisc"), Some(500)),
        hop(
            server,
            Event::NetifRx,
            3_004_500,
            Some("wire"),
            Some(3_000_000),
        ),
        hop(client, Event::UserReceive, 3_100_000, None, Some(95_500)),
    ];
    let mut run = report().runs.swap_remove(0);
    run.test = TestType::UdpRr;
    run.exemplars = Some(vec![Exemplar {
        sequence: 12_345,
        round: Some(7),
        rtt_ns: 3_100_000,
        joined: false,
        lost_hops: 2,
        hops,
    }]);
    run
}

/// Streams and requests of the sample report as a matrix: the last cell of each test is not
/// measured yet, the one before has failed.
pub(crate) fn matrix() -> Matrix {
    let report = report();
    let cell = |run: &Run| {
        let tolls = report.tolls.iter().filter(|toll| {
            toll.run_id == run.id && Some(toll.baseline.kind) == run.path.kind.baseline()
        });
        Cell {
            row: None,
            test: run.test,
            path: run.path.clone(),
            mss_bytes: None,
            outcome: Outcome::Measured(Box::new(Measured {
                runs: vec![run.clone()],
                tolls: tolls.cloned().collect(),
            })),
        }
    };
    let mut cells = Vec::new();
    for test in [TestType::TcpStream, TestType::TcpRr] {
        let of_test: Vec<_> = report.runs.iter().filter(|run| run.test == test).collect();
        cells.extend(of_test.iter().map(|run| cell(run)));
        for (kind, outcome) in [
            (PathKind::Hairpin, Outcome::Failed("no route".to_owned())),
            (PathKind::NodePort, Outcome::Waiting),
        ] {
            let mut more = cell(of_test[0]);
            (more.path.kind, more.outcome) = (kind, outcome);
            cells.push(more);
        }
    }
    Matrix {
        schema: SCHEMA.to_owned(),
        asked: Asked {
            preset: None,
            tests: vec![TestType::TcpStream, TestType::TcpRr],
            paths: Vec::new(),
            network: "default".to_owned(),
            from_node: None,
            to_node: None,
            mss_bytes: Vec::new(),
            rate_bits_per_second: None,
            seconds: 5.0,
            pairs: 10,
        },
        cells,
        missing: vec![Missing {
            what: "tcp_rr external".to_owned(),
            reason: "no endpoints".to_owned(),
        }],
        context: Some(report.context.clone()),
    }
}
