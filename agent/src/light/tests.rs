//! Light rounds over the loopback device, in the namespace of the test: no privilege needed.

use std::{
    collections::BTreeMap,
    net::{TcpListener, UdpSocket},
    thread::sleep,
};

use nettoll_core::{
    api::{LightEdge, LightPlace, LightResponder, Protocol},
    endpoint::{Path, PathKind},
};

use super::*;
use crate::probe::Settings;

fn light() -> Light {
    let node = Arc::new(Node::new("n1".to_owned(), BTreeMap::new()));
    let runs = Arc::new(Runs::new(
        "n1".to_owned(),
        BTreeMap::new(),
        Settings::default(),
    ));
    Light::new(node, runs)
}

fn place() -> LightPlace {
    LightPlace {
        endpoint: "node/n1".parse().unwrap(),
        pod_uid: None,
        address: "127.0.0.1".parse().unwrap(),
    }
}

/// Ports that nobody has, for a moment at least.
fn ports<const N: usize>() -> [u16; N] {
    let sockets: [UdpSocket; N] = std::array::from_fn(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

fn plan(version: &str, from_port: u16, to_port: u16) -> LightPlan {
    let endpoint = place().endpoint;
    LightPlan {
        version: version.to_owned(),
        period_ms: 1_000,
        requests: 10,
        timeout_ms: 200,
        responders: vec![LightResponder {
            place: place(),
            port: to_port,
            protocol: Protocol::Udp,
        }],
        edges: vec![LightEdge {
            id: "loopback".to_owned(),
            path: Path {
                kind: PathKind::Loopback,
                from: endpoint.clone(),
                to: endpoint,
                network: None,
            },
            from: place(),
            to: place().address,
            to_node: None,
            protocol: Protocol::Udp,
            from_port,
            to_port,
            offset_ms: 200,
            probe: false,
        }],
        ..LightPlan::default()
    }
}

/// Waits for rounds after a sequence, and gives the first one.
fn round_after(light: &Light, sequence: u64) -> LightRound {
    let begin = Instant::now();
    loop {
        if let Some(round) = light.results(sequence).rounds.into_iter().next() {
            return round;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "no round");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_plan_goes_on_by_itself_until_nobody_speaks_of_it() {
    let light = light();
    let [from, to] = ports();
    light.put(plan("one", from, to)).unwrap();
    let first = round_after(&light, 0);
    assert_eq!((first.sent, first.failed), (10, None));
    let second = round_after(&light, 1);
    assert_eq!((second.answered, second.lost), (10, 0));

    // The responder stays where it is; its edge is not asked for any more.
    let before = light.results(0).responders[0].answered;
    let mut without = plan("two", from, to);
    without.edges.clear();
    light.put(without).unwrap();
    let results = light.results(0);
    assert_eq!(results.version.as_deref(), Some("two"));
    assert!(before >= 10 && results.responders[0].answered >= before);
    assert!(UdpSocket::bind(("127.0.0.1", to)).is_err());

    light.reap();
    assert_eq!(light.results(0).version.as_deref(), Some("two"));
    let mut short = plan("two", from, to);
    short.idle_seconds = 1;
    light.put(short).unwrap();
    sleep(Duration::from_secs(1));
    light.reap();
    let results = light.results(0);
    assert_eq!((results.version, results.responders.len()), (None, 0));
    assert!(
        results.rounds.len() >= 2,
        "what was measured can still be fetched"
    );
    UdpSocket::bind(("127.0.0.1", to)).unwrap();
}

#[test]
fn a_plan_with_nothing_to_do_ends_what_there_is_at_once() {
    let light = light();
    let [from, to] = ports();
    light.put(plan("one", from, to)).unwrap();
    round_after(&light, 0);
    light.put(LightPlan::default()).unwrap();
    let results = light.results(0);
    assert_eq!((results.version, results.responders.len()), (None, 0));
    assert!(!results.rounds.is_empty());
    UdpSocket::bind(("127.0.0.1", to)).unwrap();
    assert_eq!(light.totals().edges, 0);
}

/// The same plan over TCP.
fn over_tcp(mut plan: LightPlan) -> LightPlan {
    for edge in &mut plan.edges {
        (edge.protocol, edge.from_port) = (Protocol::Tcp, 0);
    }
    for responder in &mut plan.responders {
        responder.protocol = Protocol::Tcp;
    }
    plan
}

#[test]
fn rounds_over_tcp_have_a_connection_each() {
    let light = light();
    let [from, to] = ports();
    light.put(over_tcp(plan("tcp", from, to))).unwrap();
    // The responder may listen a moment later than the first round begins.
    let round = round_after(&light, 1);
    assert_eq!((round.sent, round.answered, round.lost), (10, 10, 0));
    assert_eq!(
        (round.rtt.count, round.refused, round.failed),
        (10, None, None)
    );
    assert!(round.rtt.max_ns < 200_000_000);
    assert!(light.results(0).responders[0].answered >= 10);
    // Other work, and nobody listens any more.
    light.put(plan("udp", from, to)).unwrap();
    let begin = Instant::now();
    while TcpListener::bind(("127.0.0.1", to)).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10), "it listens on");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_connection_that_is_refused_is_told_and_all_of_its_round_is_lost() {
    let light = light();
    let [from, to] = ports();
    let mut refused = over_tcp(plan("refused", from, to));
    refused.responders.clear();
    light.put(refused).unwrap();
    for sequence in 0..2 {
        let round = round_after(&light, sequence);
        assert_eq!((round.sent, round.answered, round.lost), (10, 0, 10));
        let why = round.refused.unwrap();
        assert!(why.contains("Connection refused"), "{why}");
        assert_eq!((round.rtt.count, round.failed), (0, None));
    }
    // One that listens and never accepts: there is a connection, and no answer.
    let deaf = TcpListener::bind(("127.0.0.1", to)).unwrap();
    let after = light.results(0).next;
    let round = round_after(&light, after);
    assert_eq!((round.answered, round.lost, round.refused), (0, 10, None));
    drop(deaf);
}

#[test]
fn without_a_responder_all_is_lost() {
    let light = light();
    let [from, to] = ports();
    let mut silent = plan("silent", from, to);
    silent.responders.clear();
    light.put(silent).unwrap();
    let round = round_after(&light, 0);
    assert_eq!((round.sent, round.answered, round.lost), (10, 0, 10));
    assert_eq!((round.rtt.count, round.failed), (0, None));
    let totals = light.totals();
    assert_eq!((totals.edges, totals.lost, totals.answers), (1, 10, 0));
}

#[test]
fn a_port_that_is_taken_fails_its_own_part_alone() {
    let light = light();
    let [from, to] = ports();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut planned = plan("taken", from, to);
    planned.responders.push(LightResponder {
        place: place(),
        port: taken.local_addr().unwrap().port(),
        protocol: Protocol::Udp,
    });
    planned.edges.push(LightEdge {
        id: "taken".to_owned(),
        from_port: taken.local_addr().unwrap().port(),
        to: "127.0.0.2".parse().unwrap(),
        ..planned.edges[0].clone()
    });
    assert!(light.put(planned.clone()).is_err(), "one port for both");
    planned.responders.pop();
    light.put(planned).unwrap();
    let mut rounds = BTreeMap::new();
    for sequence in 0..2 {
        let round = round_after(&light, sequence);
        rounds.insert(round.edge.clone(), round);
    }
    assert_eq!(rounds["loopback"].failed, None);
    let why = rounds["taken"].failed.clone().unwrap();
    assert!(
        why.contains("another run or process has this port"),
        "{why}"
    );
}
