//! Runs over 127.0.0.1, with real sockets and without privileges.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nettoll_core::{
    api::{FlowTuple, Place, Protocol, Role, RoundSide, RoundSpec, RunSpec, UserStage},
    endpoint::{Endpoint, Path, PathKind},
    hop::{Direction, Side},
    report::{Options, TestType},
};

use super::*;
use crate::netns::Netns;

mod ends;
mod refusals;
mod rounds;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Rounds that run at the same time would measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn agent() -> Runs {
    Runs::new("n1".to_owned(), BTreeMap::new(), Settings::default())
}

/// All tests between two sockets.
fn tests() -> impl Iterator<Item = TestType> {
    let all = TestType::ALL.into_iter();
    all.filter(|&test| test != TestType::HttpRr)
}

fn spec(id: &str, test: TestType, role: Role, port: u16) -> RunSpec {
    let endpoint = Endpoint::Node("n1".to_owned());
    let place = Place {
        endpoint: endpoint.clone(),
        pod_uid: None,
        netns: Netns::own().unwrap().inode(),
        address: LOCAL,
    };
    RunSpec {
        id: id.to_owned(),
        path: Path {
            kind: PathKind::Loopback,
            from: endpoint.clone(),
            to: endpoint,
            network: None,
        },
        test,
        options: Options {
            seconds: 0.2,
            rounds: 1,
            warmup_ms: 20,
            message_bytes: 131_072,
            request_bytes: 64,
            response_bytes: 200,
            sample_hz: 0,
            mss_bytes: None,
            datagram_bytes: 1_400,
            rate_bits_per_second: None,
        },
        role,
        client: place.clone(),
        server: place,
        port,
        service: None,
        devices: Vec::new(),
        count_nodes: Vec::new(),
        sample: false,
    }
}

fn round(pair: u32) -> RoundSpec {
    RoundSpec {
        pair,
        sequence: pair,
        probe: false,
        calibrate: None,
        seconds: 0.1,
    }
}

fn one_round(agent: &Runs, id: &str, pair: u32) -> RoundSide {
    agent.begin(id, round(pair)).unwrap();
    let ran = agent.run(id, round(pair)).unwrap();
    let ended = agent.end(id).unwrap();
    let without = RoundSide {
        arrived: None,
        ..ended.clone()
    };
    assert_eq!(ran, without, "the end repeats the client's figures");
    ended
}

/// A free port, as far as one can know.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind((LOCAL, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// Nothing is wrong with the round but what a crowded machine can do to it.
fn assert_valid(side: &RoundSide) {
    if let Some(reason) = &side.invalid_reason {
        let crowded = ["the hypervisor took", "only "];
        let crowded = crowded.iter().any(|start| reason.starts_with(start));
        assert!(crowded, "{reason}");
    }
}
