//! The path between two endpoints.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{
    PlanError,
    service::{Client, Entry, served},
};
use crate::{
    api::{Backend, Inventory, InventoryNode, InventoryPod},
    endpoint::{Endpoint, Path, PathKind},
    report::TestType,
};

/// One end of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node or pod: of a service the backend, of a URL the client again.
    pub endpoint: Endpoint,
    /// The node that the endpoint is on.
    pub node: String,
    /// The endpoint's address on the path.
    pub address: IpAddr,
    /// UID of the pod, where the inventory has one.
    pub pod_uid: Option<String>,
}

/// A path, and where its ends are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The path.
    pub path: Path,
    /// The from-endpoint.
    pub client: Place,
    /// The to-endpoint.
    pub server: Place,
    /// On a path to a service.
    pub service: Option<ServiceRoute>,
}

/// Where a path to a service leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceRoute {
    /// Where the client connects to: the service's own address, or a node's.
    pub address: SocketAddr,
    /// Where its packets go as they leave its namespace: to the backend already, where the rules
    /// are in that very namespace.
    pub leaves_to: IpAddr,
    /// The backend's port, where the server listens.
    pub target_port: u16,
}

/// Finds what lies between two endpoints of the inventory for a test.
///
/// `network` is the pod network (the inventory's first for `None`); it counts only for paths
/// that cross one, the others have none in the result. On the loopback device both addresses are
/// 127.0.0.1; pods of one node use the address in the inventory's first network.
pub fn classify(
    from: &Endpoint,
    to: &Endpoint,
    network: Option<&str>,
    test: TestType,
    inventory: &Inventory,
) -> Result<Route, PlanError> {
    let network = match network {
        Some(name) if !inventory.networks.iter().any(|known| known == name) => {
            let known = inventory.networks.clone();
            let network = name.to_owned();
            return Err(PlanError::NoNetwork { network, known });
        }
        Some(name) => Some(name),
        None => first_network(inventory),
    };
    if let (Some(_), Some(network), Some(first)) = (to.service(), network, first_network(inventory))
        && network != first
    {
        return Err(PlanError::ServiceNetwork {
            service: to.clone(),
            network: network.to_owned(),
            first: first.to_owned(),
        });
    }
    if !test.reaches(to) {
        let to = to.clone();
        return Err(PlanError::Unreachable { test, to });
    }
    let client = find(from, inventory)?;
    let (server, service) = match to {
        // What answers is nobody's that the inventory knows; the client's agent is alone with it.
        Endpoint::Url(_) => (client.clone(), None),
        Endpoint::Service { .. } | Endpoint::NodePort { .. } => {
            let (server, address, port) = find_served(&client, to, test, inventory)?;
            (server, Some((address, port)))
        }
        _ => (find(to, inventory)?, None),
    };
    let same_node = client.node.name == server.node.name;
    let same = client.endpoint == server.endpoint;
    let (kind, network) = match (client.pod, server.pod) {
        _ if service.is_some() => {
            let kind = match (client.pod, to) {
                (_, Endpoint::NodePort { .. }) => PathKind::NodePort,
                (Some(_), _) if same => PathKind::Hairpin,
                (Some(_), _) => PathKind::PodToService,
                (None, _) => PathKind::HostToService,
            };
            (kind, network)
        }
        _ if matches!(to, Endpoint::Url(_)) => (PathKind::External, None),
        _ if same => (PathKind::Loopback, None),
        (None, None) => (PathKind::HostToHost, None),
        (Some(_), Some(_)) if same_node => (PathKind::PodToPodSameNode, first_network(inventory)),
        (Some(_), Some(_)) => (PathKind::PodToPod, network),
        _ if same_node => {
            let (from, to) = (from.clone(), to.clone());
            return Err(PlanError::NodeAndItsPod { from, to });
        }
        (None, Some(_)) => (PathKind::HostToPod, network),
        (Some(_), None) => (PathKind::PodToHost, network),
    };
    let place = |located: &Located<'_>| {
        let address = match located.pod {
            _ if kind == PathKind::Loopback => IpAddr::V4(Ipv4Addr::LOCALHOST),
            None => located.node.address,
            Some(pod) => {
                let network = network.or_else(|| first_network(inventory));
                pod_address(pod, &located.endpoint, network)?
            }
        };
        Ok(Place {
            endpoint: located.endpoint.clone(),
            node: located.node.name.clone(),
            address,
            pod_uid: located.pod.and_then(|pod| pod.uid.clone()),
        })
    };
    let server_place = place(&server)?;
    let service = service.map(|(address, target_port)| {
        let by_other_node =
            matches!(to, Endpoint::NodePort { node, .. } if *node != client.node.name);
        let leaves_to = match client.pod {
            None if !by_other_node => server_place.address,
            _ => address.ip(),
        };
        ServiceRoute {
            address,
            leaves_to,
            target_port,
        }
    });
    Ok(Route {
        client: place(&client)?,
        server: server_place,
        service,
        path: Path {
            kind,
            from: from.clone(),
            to: to.clone(),
            network: network
                .filter(|_| kind != PathKind::PodToPodSameNode && !(service.is_some() && same_node))
                .map(str::to_owned),
        },
    })
}

/// The node of a node or pod; `None` for what the inventory does not list.
#[must_use]
pub fn node_of<'a>(endpoint: &Endpoint, inventory: &'a Inventory) -> Option<&'a str> {
    let located = find(endpoint, inventory).ok()?;
    Some(&located.node.name)
}

/// An endpoint as the inventory knows it.
#[derive(Clone)]
struct Located<'a> {
    endpoint: Endpoint,
    node: &'a InventoryNode,
    /// `None` for the node itself.
    pod: Option<&'a InventoryPod>,
}

fn find<'a>(endpoint: &Endpoint, inventory: &'a Inventory) -> Result<Located<'a>, PlanError> {
    if !matches!(endpoint, Endpoint::Node(_) | Endpoint::Pod { .. }) {
        return Err(PlanError::Unsupported(endpoint.clone()));
    }
    let endpoint = endpoint.clone();
    let wanted = endpoint.to_string();
    let mut known = Vec::new();
    for node in &inventory.nodes {
        let pods = node.pods.iter().map(|pod| (pod_name(pod), Some(pod)));
        for (name, pod) in std::iter::once((format!("node/{}", node.name), None)).chain(pods) {
            if name == wanted {
                return Ok(Located {
                    endpoint,
                    node,
                    pod,
                });
            }
            known.push(name);
        }
    }
    Err(PlanError::NoEndpoint { endpoint, known })
}

/// The backend of a service that a test is measured to: where the client connects to for it, and the
/// backend's own port.
fn find_served<'a>(
    client: &Located<'_>,
    to: &Endpoint,
    test: TestType,
    inventory: &'a Inventory,
) -> Result<(Located<'a>, SocketAddr, u16), PlanError> {
    let services = inventory.services.iter();
    let service = services.clone().find(|service| service.is(to));
    let service = service.ok_or_else(|| PlanError::NoEndpoint {
        endpoint: to.clone(),
        known: services
            .map(|service| format!("service/{}", service.name))
            .collect(),
    })?;
    let located = |backend: &Backend| find(&backend.endpoint()?, inventory).ok();
    let from = Client {
        endpoint: &client.endpoint,
        node: &client.node.name,
    };
    let served = served(service, to, test.protocol(), from, |backend| {
        located(backend).is_some()
    })?;
    let server = located(served.backend).ok_or_else(|| PlanError::NoBackend(to.clone()))?;
    let address = match served.entry {
        Entry::Service(address) => address,
        Entry::Node(node, port) => {
            let node = find(&Endpoint::Node(node.to_owned()), inventory)?.node;
            SocketAddr::new(node.address, port)
        }
    };
    Ok((server, address, served.backend.port))
}

fn pod_name(pod: &InventoryPod) -> String {
    format!("pod/{}", pod.name)
}

fn pod_address(
    pod: &InventoryPod,
    endpoint: &Endpoint,
    network: Option<&str>,
) -> Result<IpAddr, PlanError> {
    let network = network.ok_or_else(|| PlanError::NetworkUnnamed(endpoint.to_string()))?;
    pod.addresses
        .get(network)
        .copied()
        .ok_or_else(|| PlanError::NoAddress {
            pod: endpoint.clone(),
            network: network.to_owned(),
            known: pod.addresses.keys().cloned().collect(),
        })
}

fn first_network(inventory: &Inventory) -> Option<&str> {
    inventory.networks.first().map(String::as_str)
}

#[cfg(test)]
pub(super) mod tests;
