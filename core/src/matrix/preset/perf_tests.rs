//! The rows of the netperf benchmark of kubernetes/perf-tests (`network/benchmarks/netperf`), by which
//! scripts know them.

use crate::{endpoint::PathKind, plan::Backends, report::TestType};

/// One row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// As that benchmark writes it.
    pub(super) label: &'static str,
    /// Between which pods.
    pub(super) kind: PathKind,
    /// Of a service.
    pub(super) backends: Backends,
    /// What is measured, or why it is not.
    pub(super) test: Result<TestType, &'static str>,
    /// It has a column for each segment size.
    pub(super) sweep: bool,
}

/// A way between pods, as each group of rows has it.
type Way = (PathKind, Backends);

const SAME_POD: Way = (PathKind::PodToPodSameNode, Backends::Any);
const SAME_VIRTUAL: Way = (PathKind::PodToService, Backends::Near);
const REMOTE_POD: Way = (PathKind::PodToPod, Backends::Any);
const REMOTE_VIRTUAL: Way = (PathKind::PodToService, Backends::Far);
const HAIRPIN: Way = (PathKind::Hairpin, Backends::Any);

const fn tcp(label: &'static str, way: Way) -> Row {
    row(label, way, Ok(TestType::TcpStream), true)
}

const fn netperf(label: &'static str, way: Way) -> Row {
    row(label, way, Ok(TestType::TcpStream), false)
}

const fn sctp(label: &'static str, way: Way) -> Row {
    row(
        label,
        way,
        Err("this version has no test sctp_stream"),
        true,
    )
}

const fn udp(label: &'static str, way: Way) -> Row {
    row(label, way, Ok(TestType::UdpStream), false)
}

const fn row(
    label: &'static str,
    (kind, backends): Way,
    test: Result<TestType, &'static str>,
    sweep: bool,
) -> Row {
    Row {
        label,
        kind,
        backends,
        test,
        sweep,
    }
}

/// All rows.
pub(super) const ROWS: [Row; 18] = [
    tcp("1 iperf TCP. Same VM using Pod IP", SAME_POD),
    tcp("2 iperf TCP. Same VM using Virtual IP", SAME_VIRTUAL),
    tcp("3 iperf TCP. Remote VM using Pod IP", REMOTE_POD),
    tcp("4 iperf TCP. Remote VM using Virtual IP", REMOTE_VIRTUAL),
    tcp("5 iperf TCP. Hairpin Pod to own Virtual IP", HAIRPIN),
    sctp("6 iperf SCTP. Same VM using Pod IP", SAME_POD),
    sctp("7 iperf SCTP. Same VM using Virtual IP", SAME_VIRTUAL),
    sctp("8 iperf SCTP. Remote VM using Pod IP", REMOTE_POD),
    sctp("9 iperf SCTP. Remote VM using Virtual IP", REMOTE_VIRTUAL),
    sctp("10 iperf SCTP. Hairpin Pod to own Virtual IP", HAIRPIN),
    udp("11 iperf UDP. Same VM using Pod IP", SAME_POD),
    udp("12 iperf UDP. Same VM using Virtual IP", SAME_VIRTUAL),
    udp("13 iperf UDP. Remote VM using Pod IP", REMOTE_POD),
    udp("14 iperf UDP. Remote VM using Virtual IP", REMOTE_VIRTUAL),
    netperf("15 netperf. Same VM using Pod IP", SAME_POD),
    netperf("16 netperf. Same VM using Virtual IP", SAME_VIRTUAL),
    netperf("17 netperf. Remote VM using Pod IP", REMOTE_POD),
    netperf("18 netperf. Remote VM using Virtual IP", REMOTE_VIRTUAL),
];
