//! What is made up: nodes, and what their agents tell.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use nettoll_core::{
    api::LightRound,
    histogram::{Histogram, USER_SUB_BITS},
    inventory::{Event, NodeFacts, PodFacts, Role},
    random::SplitMix64,
};

/// Made-up rounds differ in so many ways.
const VARIANTS: usize = 64;

/// A node and its pods as watches tell of them.
pub(super) fn node(number: u32, zones: u32, ready: bool) -> [Event; 4] {
    let address = |network: u32| IpAddr::V4(Ipv4Addr::from((network << 24) + number + 1));
    let name = format!("ip-10-0-{}-{}.compute.internal", number / 256, number % 256);
    let pod = |role, component: &str, network| {
        Event::Pod(PodFacts {
            uid: format!("{number:08x}-6dd4-4be5-8a0c-{component:0>12.12}"),
            namespace: "nettoll".to_owned(),
            name: format!("nettoll-{component}-{number:05}"),
            node: Some(name.clone()),
            address: Some(address(network)),
            host_network: role == Role::Agent,
            ready,
            gone: false,
            role,
        })
    };
    [
        Event::Node(NodeFacts {
            name: name.clone(),
            address: Some(address(10)),
            zone: Some(format!("region-1{}", number % zones)),
            ready,
            labels: Arc::default(),
        }),
        pod(Role::Agent, "agent", 10),
        pod(Role::EndpointA, "endpoint-a", 11),
        pod(Role::EndpointB, "endpoint-b", 12),
    ]
}

/// Rounds of 50 requests, with times as a pod network has them.
pub(super) fn variants() -> Vec<LightRound> {
    let mut random = SplitMix64::new(7);
    let round = |_| {
        let mut times = Histogram::new(USER_SUB_BITS);
        for _ in 0..50 {
            let tail = random.uniform().powi(8) * 400_000.0;
            times.record((60_000.0 + 30_000.0 * random.uniform() + tail) as u64);
        }
        LightRound {
            sequence: 1,
            edge: String::new(),
            age_ms: 5_000,
            sent: 50,
            answered: 50,
            lost: 0,
            rtt: times.to_times(),
            ..LightRound::default()
        }
    };
    (0..VARIANTS).map(round).collect()
}
