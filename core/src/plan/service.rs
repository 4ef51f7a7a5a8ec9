//! Which backend of a service a test measures.

use std::net::SocketAddr;

use super::PlanError;
use crate::{
    api::{Backend, InventoryService, Protocol, ServicePort},
    endpoint::Endpoint,
};

/// By which address a service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Its own.
    Service(SocketAddr),
    /// A node's, at this port.
    Node(&'a str, u16),
}

/// Where the client of a path to a service connects to, and what answers there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served<'a> {
    /// Where the client connects to.
    pub entry: Entry<'a>,
    /// The pod, and the port on which a test listens there.
    pub backend: &'a Backend,
}

/// Chooses the port that `to` names, or the first one of the protocol, and one of its backends.
///
/// One on another node than the client's comes before one on the same, and that before the client
/// itself, which makes a hairpin; of several the first by name: the same question has the same
/// answer. By the port of another node than the client's it is one on that node: a third node on the
/// way would be nobody's. `can` says on which backends a test can listen.
pub fn served<'a>(
    service: &'a InventoryService,
    to: &'a Endpoint,
    protocol: Protocol,
    client: Client<'_>,
    can: impl Fn(&Backend) -> bool,
) -> Result<Served<'a>, PlanError> {
    let node = to.service().and_then(|(_, node)| node);
    let port = port(service, to, protocol)?;
    let near = |backend: &Backend| backend.node == client.node;
    let entry = match node {
        Some(node) => {
            let port = port.node_port;
            Entry::Node(node, port.ok_or_else(|| PlanError::NoNodePort(to.clone()))?)
        }
        None => {
            let address = service.address;
            let address = address.ok_or_else(|| PlanError::NoServiceAddress(to.clone()))?;
            Entry::Service(SocketAddr::new(address, port.port))
        }
    };
    let leads_to = |backend: &Backend| match entry {
        Entry::Service(_) => near(backend) || !service.local,
        Entry::Node(node, _) => node == client.node || backend.node == node,
    };
    let backends = port
        .backends
        .iter()
        .filter(|backend| can(backend) && leads_to(backend));
    let backend = backends
        .min_by_key(|backend| (client.is(backend), near(backend), &backend.pod))
        .ok_or_else(|| PlanError::NoBackend(to.clone()))?;
    Ok(Served { entry, backend })
}

/// The client of a path to a service.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Where its socket lives.
    pub endpoint: &'a Endpoint,
    /// Its node.
    pub node: &'a str,
}

impl Client<'_> {
    /// The backend is the client itself.
    pub(super) fn is(&self, backend: &Backend) -> bool {
        matches!(self.endpoint, Endpoint::Pod { .. })
            && backend.pod.split_once('/') == self.endpoint.object()
    }
}

fn port<'a>(
    service: &'a InventoryService,
    to: &Endpoint,
    protocol: Protocol,
) -> Result<&'a ServicePort, PlanError> {
    let wanted = match to.service() {
        Some((Endpoint::Service { port, .. }, _)) => *port,
        _ => None,
    };
    let mut ports = service.ports.iter();
    ports
        .find(|port| port.protocol == protocol && wanted.is_none_or(|wanted| wanted == port.port))
        .ok_or_else(|| {
            let known = |port: &ServicePort| format!("{}/{}", port.port, port.protocol);
            PlanError::NoServicePort {
                service: to.clone(),
                protocol,
                known: service.ports.iter().map(known).collect(),
            }
        })
}

impl InventoryService {
    /// Whether an endpoint is this service, or leads to it.
    #[must_use]
    pub fn is(&self, endpoint: &Endpoint) -> bool {
        endpoint.service().is_some() && self.name.split_once('/') == endpoint.object()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;

    use super::*;

    /// A service of the lab whose backends are one pod of each node, and a UDP port beside.
    pub(in crate::plan) fn echo() -> InventoryService {
        let backend = |node: &str, letter: &str| Backend {
            pod: format!("lab/{node}-{letter}"),
            node: node.to_owned(),
            port: 9481,
        };
        let port = |port, protocol, backends| ServicePort {
            port,
            protocol,
            node_port: (port == 80).then_some(30_080),
            backends,
        };
        InventoryService {
            name: "lab/echo".to_owned(),
            address: Some(IpAddr::from([198, 18, 128, 1])),
            local: false,
            ports: vec![
                port(
                    80,
                    Protocol::Tcp,
                    vec![backend("n2", "b"), backend("n1", "a"), backend("n2", "a")],
                ),
                port(81, Protocol::Tcp, vec![backend("n1", "a")]),
                port(53, Protocol::Udp, vec![]),
            ],
        }
    }

    fn chosen(service: &InventoryService, to: &str, from: &str, node: &str) -> String {
        let (to, from): (Endpoint, Endpoint) = (to.parse().unwrap(), from.parse().unwrap());
        let client = Client {
            endpoint: &from,
            node,
        };
        match served(service, &to, Protocol::Tcp, client, |_| true) {
            Ok(served) => match served.entry {
                Entry::Service(address) => format!("{address} {}", served.backend.pod),
                Entry::Node(node, port) => format!("{node}:{port} {}", served.backend.pod),
            },
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn far_backends_come_before_near_ones_and_these_before_the_client() {
        let echo = echo();
        for (to, from, node, expected) in [
            ("echo", "pod/lab/n1-a", "n1", "198.18.128.1:80 lab/n2-a"),
            ("echo", "pod/lab/n2-a", "n2", "198.18.128.1:80 lab/n1-a"),
            ("echo", "node/n3", "n3", "198.18.128.1:80 lab/n1-a"),
            ("echo:81", "pod/lab/n1-b", "n1", "198.18.128.1:81 lab/n1-a"),
            ("echo:81", "pod/lab/n1-a", "n1", "198.18.128.1:81 lab/n1-a"),
            ("echo@n2", "pod/lab/n1-a", "n1", "n2:30080 lab/n2-a"),
            ("echo@n1", "pod/lab/n2-a", "n2", "n1:30080 lab/n1-a"),
            ("echo@n1", "pod/lab/n1-a", "n1", "n1:30080 lab/n2-a"),
        ] {
            let found = chosen(&echo, &format!("service/lab/{to}"), from, node);
            assert_eq!(found, expected, "{to} {from}");
        }
        let local = InventoryService {
            local: true,
            ..echo
        };
        let found = chosen(&local, "service/lab/echo", "pod/lab/n2-a", "n2");
        assert_eq!(found, "198.18.128.1:80 lab/n2-b");
    }

    #[test]
    fn what_is_missing_is_named() {
        let echo = echo();
        let told = |service: &InventoryService, to, protocol| {
            let to: Endpoint = format!("service/lab/{to}").parse().unwrap();
            let from = Endpoint::Node("n1".to_owned());
            let client = Client {
                endpoint: &from,
                node: "n1",
            };
            let found = served(service, &to, protocol, client, |backend| {
                backend.pod != "lab/n1-a"
            });
            found.unwrap_err().to_string()
        };
        let found = told(&echo, "echo:82", Protocol::Tcp);
        assert!(
            found.contains("no such TCP port; it has 80/TCP, 81/TCP, 53/UDP"),
            "{found}"
        );
        let found = told(&echo, "echo:81@n1", Protocol::Tcp);
        assert!(found.contains("no port on nodes"), "{found}");
        for (to, protocol) in [
            ("echo:53", Protocol::Udp),
            ("echo:81", Protocol::Tcp),
            ("echo:80@n3", Protocol::Tcp),
        ] {
            let found = told(&echo, to, protocol);
            assert!(found.contains("no ready backend"), "{found}");
        }
        let headless = InventoryService {
            address: None,
            ..echo
        };
        let found = told(&headless, "echo", Protocol::Tcp);
        assert!(found.contains("no address of its own"), "{found}");
    }
}
