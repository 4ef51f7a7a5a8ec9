//! What a run's agents are asked of their devices, and what they answered together.

use nettoll_core::{api::ResolveRequest, device::Device};

use super::plan::{PlannedRun, Site};

/// What the client's and the server's agent are asked for.
pub(super) fn requests(plan: &PlannedRun) -> [ResolveRequest; 2] {
    let (client, server) = (&plan.client, &plan.server);
    let request = |near: &Site, far: &Site, peer_address| ResolveRequest {
        endpoint: near.endpoint.clone(),
        pod_uid: near.pod_uid.clone(),
        local_address: near.address,
        peer_address,
        peer_node_address: (near.node != far.node).then_some(far.node_address),
    };
    let to_server = plan.service.map_or(server.address, |it| it.leaves_to);
    // A pod that is its own backend hears from somebody else, as its client does.
    let to_client = if client.endpoint == server.endpoint {
        to_server
    } else {
        client.address
    };
    [
        request(client, server, to_server),
        request(server, client, to_client),
    ]
}

/// All devices once; on one node both answers list the same ones, each with its own end marked.
pub(super) fn merged(mut devices: Vec<Device>, others: Vec<Device>) -> Vec<Device> {
    for other in others {
        match devices.iter_mut().find(|device| device.id == other.id) {
            Some(device) => {
                device.endpoint |= other.endpoint;
                device.arrival |= other.arrival;
                device.underlay |= other.underlay;
                // The other side is in the other end's namespace.
                device.peer = device.peer.or(other.peer);
            }
            None => devices.push(other),
        }
    }
    devices
}

#[cfg(test)]
mod tests {
    use nettoll_core::{
        api::{Backend, Inventory, InventoryService, Protocol, ServicePort, TestJob},
        report::{Options, TestType},
    };

    use super::*;
    use crate::{inventory::tests::sample, jobs::plan::Plan};

    /// The sample with a service of n1-a, and on all nodes port 30080 for it.
    fn inventory() -> Inventory {
        let backend = Backend {
            pod: "lab/n1-a".to_owned(),
            node: "n1".to_owned(),
            port: 9489,
        };
        Inventory {
            services: vec![InventoryService {
                name: "lab/echo".to_owned(),
                address: Some([198, 18, 128, 1].into()),
                local: false,
                ports: vec![ServicePort {
                    port: 80,
                    protocol: Protocol::Tcp,
                    node_port: Some(30_080),
                    backends: vec![backend],
                }],
            }],
            ..sample()
        }
    }

    #[test]
    fn an_end_is_asked_for_the_way_that_its_own_packets_take() {
        for (from, to, client_to, server_to) in [
            (
                "pod/lab/n2-a",
                "pod/lab/n1-a",
                "198.18.101.2",
                "198.18.102.2",
            ),
            (
                "pod/lab/n2-a",
                "service/lab/echo",
                "198.18.128.1",
                "198.18.102.2",
            ),
            (
                "pod/lab/n1-a",
                "service/lab/echo",
                "198.18.128.1",
                "198.18.128.1",
            ),
            ("node/n2", "service/lab/echo", "198.18.101.2", "198.18.0.2"),
            ("node/n2", "service/lab/echo@n1", "198.18.0.1", "198.18.0.2"),
        ] {
            let job = TestJob {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
                network: None,
                test: TestType::TcpRr,
                options: Options::default(),
                against: None,
                probe: nettoll_core::api::ProbeMode::On,
            };
            let job = nettoll_core::api::Job::Test(job);
            let plan = Plan::new(&inventory(), &job, 7).unwrap();
            let asked = requests(plan.runs().next().unwrap());
            let addresses = asked.map(|request| request.peer_address.to_string());
            assert_eq!(addresses, [client_to, server_to], "{from} {to}");
        }
    }
}
