//! Which endpoints of an inventory stand for a kind of path.

use super::{PlanError, classify};
use crate::{
    api::{Inventory, InventoryNode, InventoryPod},
    endpoint::{Endpoint, Path, PathKind},
    report::TestType,
};

/// The client's node, and what lies between it, the server's node and their first pods.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    inventory: &'a Inventory,
    from: &'a InventoryNode,
    /// Only where it is named.
    to: Option<&'a InventoryNode>,
}

/// Where the backend of a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backends {
    /// On another node than the client where there is one.
    Any,
    /// On the client's node.
    Near,
    /// On another node.
    Far,
}

impl<'a> Ends<'a> {
    /// Takes the named nodes; `None` is the inventory's first that is not the other one.
    ///
    /// # Errors
    /// There is no such node, or none at all.
    pub fn new(
        inventory: &'a Inventory,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Self, PlanError> {
        let nodes = &inventory.nodes;
        let named = |name: &str| {
            let found = nodes.iter().find(|node| node.name == name);
            found.ok_or_else(|| PlanError::NoEndpoint {
                endpoint: Endpoint::Node(name.to_owned()),
                known: nodes
                    .iter()
                    .map(|node| format!("node/{}", node.name))
                    .collect(),
            })
        };
        let to = to.map(named).transpose()?;
        let from = match from {
            Some(name) => named(name)?,
            None => other_than(inventory, to)?,
        };
        Ok(Self {
            inventory,
            from,
            to,
        })
    }

    /// The path of this kind for a test, over this pod network where it crosses one.
    ///
    /// # Errors
    /// The inventory has not what makes a path of this kind, or the test cannot be run there.
    pub fn path(
        &self,
        kind: PathKind,
        backends: Backends,
        network: Option<&str>,
        test: TestType,
    ) -> Result<Path, PlanError> {
        let node = |node: &InventoryNode| Endpoint::Node(node.name.clone());
        let first_pod = |node| pods(node).map(|[pod]| pod);
        let [from, to] = match kind {
            PathKind::Loopback => [node(self.from), node(self.from)],
            PathKind::HostToHost => [node(self.from), node(self.to()?)],
            PathKind::PodToPodSameNode => pods(self.from)?,
            PathKind::PodToPod => [first_pod(self.from)?, first_pod(self.to()?)?],
            PathKind::HostToPod => [node(self.from), first_pod(self.to()?)?],
            PathKind::PodToHost => [first_pod(self.from)?, node(self.to()?)],
            PathKind::PodToService
            | PathKind::HostToService
            | PathKind::Hairpin
            | PathKind::NodePort => return self.served(kind, backends, network, test),
            PathKind::External => return Err(PlanError::NoEnds(kind)),
        };
        classify(&from, &to, network, test, self.inventory).map(|route| route.path)
    }

    /// The server's node.
    fn to(&self) -> Result<&'a InventoryNode, PlanError> {
        match self.to {
            Some(to) if to.name == self.from.name => Err(PlanError::OneNode(to.name.clone())),
            Some(to) => Ok(to),
            None => other_than(self.inventory, Some(self.from)),
        }
    }

    /// The first service, and the first client of the client's node, between which a path of this kind
    /// lies.
    fn served(
        &self,
        kind: PathKind,
        backends: Backends,
        network: Option<&str>,
        test: TestType,
    ) -> Result<Path, PlanError> {
        let mut clients = vec![Endpoint::Node(self.from.name.clone())];
        if kind != PathKind::HostToService {
            clients = self.from.pods.iter().filter_map(pod).collect();
        }
        let by_node = match kind {
            PathKind::NodePort => Some(self.to()?.name.clone()),
            _ => None,
        };
        let mut refused = None;
        for to in services(self.inventory, test) {
            let to = match &by_node {
                Some(node) => Endpoint::NodePort {
                    service: Box::new(to),
                    node: node.clone(),
                },
                None => to,
            };
            for from in &clients {
                match classify(from, &to, network, test, self.inventory) {
                    Ok(route) => {
                        let near = route.client.node == route.server.node;
                        let there = match backends {
                            Backends::Any => true,
                            Backends::Near => near,
                            Backends::Far => !near,
                        };
                        if route.path.kind == kind && there {
                            return Ok(route.path);
                        }
                    }
                    Err(error) => {
                        refused.get_or_insert(error);
                    }
                }
            }
        }
        Err(refused.unwrap_or(PlanError::NoEnds(kind)))
    }
}

/// The first node that is another one.
fn other_than<'a>(
    inventory: &'a Inventory,
    taken: Option<&InventoryNode>,
) -> Result<&'a InventoryNode, PlanError> {
    let nodes = &inventory.nodes;
    let free = |node: &&InventoryNode| taken.is_none_or(|taken| taken.name != node.name);
    let found = nodes.iter().find(free);
    found.ok_or(PlanError::TooFewNodes(nodes.len()))
}

/// The services with a port of the test's protocol, as users write them: the first such port goes
/// without saying.
fn services(inventory: &Inventory, test: TestType) -> impl Iterator<Item = Endpoint> {
    inventory.services.iter().flat_map(move |service| {
        let ports = service.ports.iter();
        let ports = ports.filter(move |port| port.protocol == test.protocol());
        ports.enumerate().filter_map(|(number, port)| {
            let (namespace, name) = service.name.split_once('/')?;
            Some(Endpoint::Service {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                port: (number > 0).then_some(port.port),
            })
        })
    })
}

/// The first `N` pods of a node.
fn pods<const N: usize>(node: &InventoryNode) -> Result<[Endpoint; N], PlanError> {
    let endpoints: Vec<Endpoint> = node.pods.iter().filter_map(pod).take(N).collect();
    endpoints.try_into().map_err(|_| PlanError::TooFewPods {
        node: node.name.clone(),
        needed: N,
        found: node.pods.len(),
    })
}

fn pod(pod: &InventoryPod) -> Option<Endpoint> {
    let (namespace, name) = pod.name.split_once('/')?;
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    Some(Endpoint::Pod { namespace, name })
}

#[cfg(test)]
mod tests {
    use super::{super::paths::tests::inventory, *};

    fn path(kind: PathKind, backends: Backends, test: TestType) -> Result<String, String> {
        let inventory = inventory();
        let ends = Ends::new(&inventory, None, None).unwrap();
        let path = ends.path(kind, backends, None, test);
        path.map(|path| {
            assert_eq!(path.kind, kind);
            format!("{} {}", path.from, path.to)
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_has_its_ends() {
        for (kind, expected) in [
            (PathKind::Loopback, "node/n1 node/n1"),
            (PathKind::HostToHost, "node/n1 node/n2"),
            (PathKind::PodToPodSameNode, "pod/lab/n1-a pod/lab/n1-b"),
            (PathKind::PodToPod, "pod/lab/n1-a pod/lab/n2-a"),
            (PathKind::HostToPod, "node/n1 pod/lab/n2-a"),
            (PathKind::PodToHost, "pod/lab/n1-a node/n2"),
            (PathKind::PodToService, "pod/lab/n1-a service/lab/echo"),
            (PathKind::HostToService, "node/n1 service/lab/echo"),
            (PathKind::Hairpin, "pod/lab/n1-a service/lab/echo:81"),
            (PathKind::NodePort, "pod/lab/n1-a service/lab/echo@n2"),
        ] {
            let found = path(kind, Backends::Any, TestType::TcpRr);
            assert_eq!(found.as_deref(), Ok(expected), "{kind}");
        }
    }

    #[test]
    fn a_near_backend_is_one_on_the_clients_node() {
        let found = |backends| path(PathKind::PodToService, backends, TestType::TcpStream);
        let near = found(Backends::Near);
        assert_eq!(near.as_deref(), Ok("pod/lab/n1-b service/lab/echo:81"));
        let far = found(Backends::Far);
        assert_eq!(far.as_deref(), Ok("pod/lab/n1-a service/lab/echo"));
    }

    #[test]
    fn what_the_inventory_has_not_is_told() {
        for (kind, test, expected) in [
            (PathKind::External, TestType::TcpRr, "no endpoints"),
            (
                PathKind::PodToService,
                TestType::PathCost,
                "path_cost cannot be measured to service/lab/echo",
            ),
            (PathKind::PodToPod, TestType::HttpRr, "http_rr cannot be"),
        ] {
            let told = path(kind, Backends::Any, test).unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
        let mut inventory = inventory();
        inventory.services.clear();
        inventory.nodes.truncate(1);
        let ends = Ends::new(&inventory, None, None).unwrap();
        let path = |kind| ends.path(kind, Backends::Any, None, TestType::UdpRr);
        assert!(path(PathKind::Loopback).is_ok());
        assert!(path(PathKind::PodToPodSameNode).is_ok());
        let told = path(PathKind::HostToHost).unwrap_err();
        assert_eq!(told, PlanError::TooFewNodes(1));
        let told = path(PathKind::Hairpin).unwrap_err();
        assert_eq!(told, PlanError::NoEnds(PathKind::Hairpin));
        inventory.nodes.clear();
        let told = Ends::new(&inventory, None, None).unwrap_err();
        assert_eq!(told, PlanError::TooFewNodes(0));
    }
}
