//! The smallest run: over the loopback device of one node.

use anyhow::Result;
use nettoll_core::{
    api::{LightPlace, Place, ResolveRequest, Resolved, Role, RunSpec, TRAFFIC_PORT_FIRST},
    endpoint::{Path, PathKind},
    report::{Options, TestType},
};
use nettoll_lab::plan::Node;

use crate::{agent::Agent, mesh::host};

/// Asks the node's agent for the devices and says what the run is.
///
/// # Errors
/// Where the agent does not know them.
pub fn loopback(agent: &Agent, node: &Node, id: &str, test: TestType) -> Result<RunSpec> {
    let LightPlace {
        endpoint, address, ..
    } = host(node);
    let ask = ResolveRequest {
        endpoint: endpoint.clone(),
        pod_uid: None,
        local_address: address,
        peer_address: address,
        peer_node_address: None,
    };
    let Resolved { netns, devices, .. } = agent.ask("POST", "/v1/resolve", &ask)?;
    let place = Place {
        endpoint: endpoint.clone(),
        pod_uid: None,
        netns,
        address,
    };
    Ok(RunSpec {
        id: id.to_owned(),
        path: Path {
            kind: PathKind::Loopback,
            from: endpoint.clone(),
            to: endpoint,
            network: None,
        },
        test,
        options: Options {
            seconds: 1.0,
            rounds: 1,
            warmup_ms: 10,
            message_bytes: 1,
            request_bytes: 64,
            response_bytes: 64,
            sample_hz: 0,
            mss_bytes: None,
            datagram_bytes: 1_400,
            rate_bits_per_second: None,
        },
        role: Role::Both,
        client: place.clone(),
        server: place,
        port: TRAFFIC_PORT_FIRST,
        service: None,
        devices,
        count_nodes: vec![node.name.clone()],
        sample: false,
    })
}
