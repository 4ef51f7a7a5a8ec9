//! The sample report that the tests of rendering use.

use nettoll_core::{
    hop::{Direction, Event, Side},
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
