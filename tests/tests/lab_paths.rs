//! Every kind of path in the lab: which stages it has, that these are all, and that they add up.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    endpoint::PathKind,
    hop::Direction,
    report::{Run, Stage, TestType},
};
use nettoll_lab::{Network, Underlay, netns};
use nettoll_tests::{
    output_of,
    session::{BRIEF, OF_SOCKET, Session, first, followed, label, requests},
};

/// A path, what answers there, and the stages of its two directions.
struct Case {
    from: &'static str,
    to: &'static str,
    kind: PathKind,
    backend: Option<&'static str>,
    request: &'static str,
    response: &'static str,
}

const fn case(
    from: &'static str,
    to: &'static str,
    kind: PathKind,
    [request, response]: [&'static str; 2],
) -> Case {
    Case {
        from,
        to,
        kind,
        backend: None,
        request,
        response,
    }
}

const fn served(backend: &'static str, case: Case) -> Case {
    Case {
        backend: Some(backend),
        ..case
    }
}

// Each begins with `socket_tx` and ends with `socket_rx`.
const LOOPBACK: &str = "qdisc loopback backlog";
const HOST: &str = "qdisc wire backlog";
const BRIDGED: &str = "qdisc veth backlog bridge";
const ROUTED: &str = "qdisc veth backlog bridge forward wire";
const OVERLAY: &str = "qdisc veth backlog bridge forward encap wire decap gro_cells";

const A: &str = "pod/lab/n1-a";
const B: &str = "pod/lab/n1-b";
const N1: &str = "node/n1";

#[rustfmt::skip]
const CASES: [Case; 13] = [
    case(N1, N1, PathKind::Loopback, [LOOPBACK; 2]),
    case(N1, "node/n2", PathKind::HostToHost, [HOST; 2]),
    case(A, B, PathKind::PodToPodSameNode, [BRIDGED; 2]),
    case(A, "pod/lab/n2-a", PathKind::PodToPod, [OVERLAY; 2]),
    // A node's own address is in no pod network: to it, packets go without the tunnel.
    case(N1, "pod/lab/n2-a", PathKind::HostToPod, [OVERLAY, ROUTED]),
    case(A, "node/n2", PathKind::PodToHost, [ROUTED, OVERLAY]),
    served("pod/lab/n2-a", case(A, "service/lab/echo", PathKind::PodToService, [OVERLAY; 2])),
    served(A, case(B, "service/lab/n1-a", PathKind::PodToService, [BRIDGED; 2])),
    served("pod/lab/n2-a", case(N1, "service/lab/echo:80", PathKind::HostToService, [OVERLAY; 2])),
    served(B, case(N1, "service/lab/n1-b", PathKind::HostToService, [BRIDGED; 2])),
    served(A, case(A, "service/lab/n1-a", PathKind::Hairpin, [BRIDGED; 2])),
    served("pod/lab/n2-a", case(N1, "service/lab/echo@n2", PathKind::NodePort, [ROUTED; 2])),
    // The node that translates sends the answers to the pod over the pod network.
    served("pod/lab/n2-a", case(A, "service/lab/echo@n2", PathKind::NodePort, [ROUTED, OVERLAY])),
];

/// What a bridge does by itself with a packet whose destination was translated on one of its ports,
/// it does by way of its own device while the neighbour's address is being confirmed.
fn by_the_bridge(stage: &Stage) -> bool {
    stage.device.as_deref() == Some("cni0") && ["forward", "qdisc"].contains(&&*stage.stage)
}

fn check(case: &Case, run: &Run) -> Result<()> {
    ensure!(run.path.kind == case.kind, "it is {}", run.path.kind);
    let backend = run.backend.as_ref().map(ToString::to_string);
    ensure!(backend.as_deref() == case.backend, "{backend:?} answered");
    let requests = requests(run);
    let stages = run.stages.as_ref().context("no stages")?;
    let some = |stage: &&Stage| {
        stage
            .packets
            .is_some_and(|packets| packets > requests / 100)
    };
    for (direction, way) in [
        (Direction::Request, case.request),
        (Direction::Response, case.response),
    ] {
        let ours = || stages.iter().filter(|stage| stage.direction == direction);
        let bridged = way == BRIDGED;
        let mut wanted: BTreeSet<&str> = way.split(' ').collect();
        wanted.extend(["socket_tx", "socket_rx"]);
        let sender = match direction {
            Direction::Response => case.to,
            _ => case.from,
        };
        if direction == Direction::Response {
            wanted.insert("responder");
        }
        // What TCP of a node sends is a clone all the way, which no GRO cell takes: see core's table.
        if run.test == TestType::TcpRr && sender.starts_with("node/") {
            wanted.remove("gro_cells");
        }
        let counted = ours()
            .filter(some)
            .filter(|stage| !(bridged && by_the_bridge(stage)))
            .filter(|stage| !OF_SOCKET.contains(&&*stage.stage));
        let found: BTreeSet<&str> = counted.clone().map(|stage| &*stage.stage).collect();
        ensure!(
            found == wanted,
            "{direction:?} has {found:?}, not {wanted:?}"
        );
        for stage in counted {
            let packets = stage.packets.unwrap_or_default();
            ensure!(
                packets.abs_diff(requests) as f64 <= 0.01 * requests as f64,
                "{packets} packets in {}, {requests} requests",
                label(stage)
            );
            ensure!(!stage.derived, "{} is derived", label(stage));
        }
    }
    let closure = run.closure.context("no closure")?;
    println!("{} {}: closure {closure:.4}", run.path.label(), run.test);
    ensure!((0.98..=1.02).contains(&closure), "closure {closure}");
    Ok(())
}

/// Measures round trips on the path, and checks their stages.
fn measure(session: &Session, case: &Case) -> Result<()> {
    for test in ["tcp_rr", "udp_rr"] {
        let (from, to) = (case.from, case.to);
        let report = session.packets(&[&followed([from, to], test, "1")[..], &BRIEF].concat())?;
        let run = first(&report)?;
        let shown = || {
            let stages = run.stages.iter().flatten();
            let lines =
                stages.map(|it| format!("{} {:?} {:.0}", label(it), it.packets, it.mean_ns));
            format!(
                "{test} {from} {to}\n{}",
                lines.collect::<Vec<_>>().join("\n")
            )
        };
        check(case, run).with_context(shown)?;
    }
    Ok(())
}

#[test]
fn every_kind_of_path_has_its_stages_and_no_others() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    CASES.iter().try_for_each(|case| measure(&session, case))
}

/// What a CNI that masquerades (flannel with `--ip-masq`) does on node n1 with what leaves the pod
/// network, or comes into it from elsewhere.
const MASQUERADE: &str = "table ip test-masquerade {
set pods { type ipv4_addr; flags interval; elements = { 198.18.1.0/24, 198.18.2.0/24 }; }
chain postrouting {
type nat hook postrouting priority srcnat;
ip saddr @pods ip daddr @pods return
ip saddr @pods ip daddr != 224.0.0.0/4 masquerade fully-random
ip saddr != @pods ip daddr 198.18.1.0/24 return
ip saddr != @pods ip daddr @pods masquerade fully-random
}
}";

#[test]
fn what_a_cni_masquerades_is_followed_all_the_way() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let mut nft = nettoll_lab::command_in("n1", "nft")?;
    output_of(nft.args(["-f", "-"]), "nft", MASQUERADE)?;
    // Nodes hear from the node's own address, pods from that of its tunnel; answers come back there.
    measure(
        &session,
        &case(N1, "pod/lab/n2-a", PathKind::HostToPod, [OVERLAY; 2]),
    )?;
    let report = session.packets(&followed([A, "node/n2"], "tcp_rr", "1"))?;
    let run = first(&report)?;
    ensure!(run.path.kind == PathKind::PodToHost, "{}", run.path.kind);
    let stages = run.stages.as_ref().context("no stages")?;
    let of = |direction| -> BTreeSet<&str> {
        let ours = stages.iter().filter(|stage| stage.direction == direction);
        let names = ours.map(|stage| &*stage.stage);
        names.filter(|name| !OF_SOCKET.contains(name)).collect()
    };
    let mut wanted: BTreeSet<&str> = ROUTED.split(' ').collect();
    wanted.extend(["socket_tx", "socket_rx"]);
    ensure!(of(Direction::Request) == wanted, "{stages:?}");
    // Node n2 takes the way to the pod for that of its answers, which go to the other node.
    wanted.retain(|stage| !["socket_tx", "wire"].contains(stage));
    wanted.insert("responder");
    ensure!(of(Direction::Response) == wanted, "{stages:?}");
    Ok(())
}

#[test]
fn a_flow_that_both_nodes_translate_is_followed_between_them() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let mut nft = nettoll_lab::command_in("n1", "nft")?;
    output_of(nft.args(["-f", "-"]), "nft", MASQUERADE)?;
    // What n2 answers goes to the node, and from there to the pod.
    let by_node = served(
        "pod/lab/n2-a",
        case(A, "service/lab/echo@n2", PathKind::NodePort, [ROUTED; 2]),
    );
    measure(&session, &by_node)
}

#[test]
fn a_stream_to_a_service_has_its_stages() -> Result<()> {
    let session = Session::up(Network::HostGw, Underlay::Veth)?;
    let report = session.test(&[
        "--from",
        A,
        "--to",
        "service/lab/echo",
        "--type",
        "tcp_stream",
        "--seconds",
        "2",
    ])?;
    let run = first(&report)?;
    let stages = run.stages.as_ref().context("no stages")?;
    for name in [
        "socket_tx",
        "veth",
        "bridge",
        "forward",
        "wire",
        "socket_rx",
    ] {
        let mut requests = stages
            .iter()
            .filter(|it| it.direction == Direction::Request);
        ensure!(requests.any(|it| it.stage == name), "no {name}");
    }
    ensure!(
        !stages.iter().any(|it| it.stage == "encap"),
        "encap in host-gw"
    );
    Ok(())
}

/// Answers every request over HTTP on a node, as long as the test runs.
fn serve_http(place: &str, address: &'static str) -> Result<()> {
    let listener = netns::within(place, || TcpListener::bind(address))??;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    Ok(())
}

#[test]
fn a_url_shows_the_near_side_and_no_closure() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    serve_http("nettoll-n2", "198.18.0.2:8080")?;
    let report = session.test(&[
        "--from",
        A,
        "--to",
        "url/http://198.18.0.2:8080/",
        "--type",
        "http_rr",
        "--seconds",
        "2",
    ])?;
    let run = first(&report)?;
    ensure!(run.path.kind == PathKind::External, "{}", run.path.kind);
    let stages = run.stages.as_ref().context("no stages")?;
    let names: BTreeSet<&str> = stages.iter().map(|stage| &*stage.stage).collect();
    let wanted = BTreeSet::from(["connect", "first_byte", "unattributed"]);
    ensure!(names == wanted, "{names:?}");
    ensure!(run.closure.is_none(), "closure {:?}", run.closure);
    Ok(())
}
