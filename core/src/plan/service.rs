//! Which backend of a service a test measures.

use std::net::SocketAddr;

use super::PlanError;
use crate::{
    api::{Backend, InventoryService, Protocol, ServicePort},
    endpoint::Endpoint,
};

/// Where the client of a path to a service connects to, and what answers there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served<'a> {
    /// The service's own address.
    pub address: SocketAddr,
    /// The pod, and the port on which a test listens there.
    pub backend: &'a Backend,
}

/// Chooses the port that `to` names, or the first one of the protocol, and one of its backends.
///
/// One on another node than the client's comes before one on the same, and that before the client
/// itself, which makes a hairpin; of several the first by name: the same question has the same
/// answer. `can` says on which backends a test can listen.
pub fn served<'a>(
    service: &'a InventoryService,
    to: &Endpoint,
    protocol: Protocol,
    client: Client<'_>,
    can: impl Fn(&Backend) -> bool,
) -> Result<Served<'a>, PlanError> {
    let address = service
        .address
        .ok_or_else(|| PlanError::NoServiceAddress(to.clone()))?;
    let port = port(service, to, protocol)?;
    let near = |backend: &Backend| backend.node == client.node;
    let backends = port
        .backends
        .iter()
        .filter(|backend| can(backend) && (near(backend) || !service.local));
    let backend = backends
        .min_by_key(|backend| (client.is(backend), near(backend), &backend.pod))
        .ok_or_else(|| PlanError::NoBackend(to.clone()))?;
    Ok(Served {
        address: SocketAddr::new(address, port.port),
        backend,
    })
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
        match self.endpoint {
            Endpoint::Pod { namespace, name } => {
                backend.pod.split_once('/') == Some((namespace, name))
            }
            _ => false,
        }
    }
}

fn port<'a>(
    service: &'a InventoryService,
    to: &Endpoint,
    protocol: Protocol,
) -> Result<&'a ServicePort, PlanError> {
    let wanted = match to {
        Endpoint::Service { port, .. } => *port,
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
    /// Whether an endpoint is this service.
    #[must_use]
    pub fn is(&self, endpoint: &Endpoint) -> bool {
        match endpoint {
            Endpoint::Service {
                namespace, name, ..
            } => self.name.split_once('/') == Some((namespace, name)),
            _ => false,
        }
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
            Ok(served) => format!("{} {}", served.address, served.backend.pod),
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
        for (to, protocol) in [("echo:53", Protocol::Udp), ("echo:81", Protocol::Tcp)] {
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
