//! The node's namespaces and devices, and what they are to a path: by netlink, at the time of
//! asking, nothing remembered.
//!
//! An ifindex says nothing without its namespace, and what lies on the other side of a veth or
//! under a tunnel may be in another one. So all namespaces of the node are listed together.

pub(crate) mod conntrack;
mod devices;
mod ethtool;
mod link;
mod mtu;
mod netlink;
mod space;

use std::{collections::BTreeMap, io, net::IpAddr};

use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteType};
use nettoll_core::{
    api::{ResolveRequest, Resolved},
    device::{Device, DeviceId, DeviceKind},
    endpoint::Endpoint,
    report::DeviceContext,
};

use self::space::Space;
use crate::netns::{self, Netns};

/// Most devices of a node, in all its namespaces.
pub(crate) const MAX_DEVICES: usize = 4096;

/// Why a path's devices cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PathError {
    /// Not on this node.
    #[error("this agent has no endpoint {asked}; it has {known}")]
    UnknownEndpoint {
        /// What was asked for.
        asked: Endpoint,
        /// What there is.
        known: String,
    },
    /// A namespace cannot be found.
    #[error("endpoint {place}: {error}")]
    Place {
        /// Whose.
        place: Endpoint,
        /// The system's reason.
        error: io::Error,
    },
    /// A namespace cannot be entered or asked.
    #[error("cannot list the devices of {place}: {error}")]
    Devices {
        /// Whose.
        place: Endpoint,
        /// The kernel's answer.
        error: io::Error,
    },
    /// There is no route.
    #[error("{place} has no route to {to} from its address {from}: {error}")]
    Route {
        /// Where the route was looked up.
        place: Endpoint,
        /// Destination.
        to: IpAddr,
        /// Source, or `any`.
        from: String,
        /// The kernel's answer.
        error: io::Error,
    },
    /// A node out of proportion.
    #[error(
        "this node has {0} devices, more than the {MAX_DEVICES} that a run can have; list fewer endpoints"
    )]
    TooManyDevices(usize),
}

impl PathError {
    /// The HTTP status that fits.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::UnknownEndpoint { .. } => 404,
            Self::Route { .. } => 409,
            // The pod is gone.
            Self::Devices { error, .. } | Self::Place { error, .. }
                if error.kind() == io::ErrorKind::NotFound =>
            {
                409
            }
            Self::Devices { .. } | Self::Place { .. } | Self::TooManyDevices(_) => 500,
        }
    }
}

/// A node as it is configured.
#[derive(Debug)]
pub(crate) struct Node {
    name: String,
    /// Names of namespaces under `/run/netns`.
    endpoints: BTreeMap<Endpoint, String>,
}

impl Node {
    /// A node with these endpoints besides its own namespace.
    pub(crate) fn new(name: String, endpoints: BTreeMap<Endpoint, String>) -> Self {
        Self { name, endpoints }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The endpoints, the node itself first.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        let node = Endpoint::Node(self.name.clone());
        std::iter::once(node)
            .chain(self.endpoints.keys().cloned())
            .collect()
    }

    /// The network namespace of an endpoint of this node.
    pub(crate) fn netns(
        &self,
        endpoint: &Endpoint,
        pod_uid: Option<&str>,
    ) -> Result<Netns, PathError> {
        let opened = match (endpoint, pod_uid) {
            (Endpoint::Pod { .. }, Some(uid)) => Netns::of_pod(uid),
            (other, _) => match self.endpoints.get(&self.known(other)?) {
                Some(name) => netns::open(name),
                None => Netns::own(),
            },
        };
        opened.map_err(|error| PathError::Place {
            place: endpoint.clone(),
            error,
        })
    }

    /// The settings of all devices.
    pub(crate) fn device_contexts(&self) -> Result<Vec<DeviceContext>, PathError> {
        let spaces = self.spaces(None)?;
        Ok(spaces.iter().flat_map(settings).collect())
    }

    /// All devices of the node, with `endpoint` and `underlay` set for one path, and no settings.
    pub(crate) fn resolve(&self, request: &ResolveRequest) -> Result<Resolved, PathError> {
        let (asked, spaces) = match (&request.endpoint, &request.pod_uid) {
            (pod @ Endpoint::Pod { .. }, Some(uid)) => (pod.clone(), self.spaces_of_pod(pod, uid)?),
            (other, _) => {
                let asked = self.known(other)?;
                let spaces = self.spaces(Some(&asked))?;
                (asked, spaces)
            }
        };
        let mut devices = devices::join(&self.name, &spaces);
        let find = |place: &Endpoint| spaces.iter().find(|space| space.place == *place);
        let mut mark = |space: &Space, ifindex, set: fn(&mut Device)| {
            let netns = space.inode;
            let id = DeviceId { netns, ifindex };
            devices
                .iter_mut()
                .filter(|device| device.id == id)
                .for_each(set);
        };
        // `spaces` holds what was asked for, or fails.
        let space = find(&asked).ok_or_else(|| self.unknown(&request.endpoint))?;
        let leaves_by = route(space, request.peer_address, Some(request.local_address))?;
        mark(space, leaves_by, |device| device.endpoint = true);
        let mut underlay = None;
        if let Some(peer) = request.peer_node_address
            && let Some(own) = find(&Endpoint::Node(self.name.clone()))
        {
            let device = route(own, peer, None)?;
            mark(own, device, |device| {
                // A node's own address is no way to another node.
                device.underlay = device.kind != DeviceKind::Loopback;
            });
            underlay = (own.inode == space.inode).then_some(device);
        }
        let arrives_at = arrives_at(space, leaves_by, request.local_address, underlay);
        mark(space, arrives_at, |device| device.arrival = true);
        Ok(Resolved {
            netns: space.inode,
            devices,
            settings: Vec::new(),
        })
    }

    /// How the devices of a pod are set that is known by its UID; nothing of other endpoints, whose
    /// settings are in [`Self::device_contexts`].
    pub(crate) fn settings(
        &self,
        request: &ResolveRequest,
    ) -> Result<Vec<DeviceContext>, PathError> {
        let Some(uid) = &request.pod_uid else {
            return Ok(Vec::new());
        };
        let place = request.endpoint.clone();
        let space = Netns::of_pod(uid).and_then(|netns| Space::open(place.clone(), &netns));
        let space = space.map_err(|error| PathError::Devices { place, error })?;
        Ok(settings(&space).collect())
    }

    /// The endpoint by the name under which it is configured.
    fn known(&self, asked: &Endpoint) -> Result<Endpoint, PathError> {
        let found = match asked {
            Endpoint::Node(name) => *name == self.name,
            Endpoint::Netns(name) => {
                let of_pod = self.endpoints.iter().find(|(_, netns)| *netns == name);
                return of_pod
                    .map(|(pod, _)| pod.clone())
                    .ok_or_else(|| self.unknown(asked));
            }
            other => self.endpoints.contains_key(other),
        };
        if found {
            Ok(asked.clone())
        } else {
            Err(self.unknown(asked))
        }
    }

    fn unknown(&self, asked: &Endpoint) -> PathError {
        let known: Vec<_> = self.endpoints().iter().map(Endpoint::to_string).collect();
        PathError::UnknownEndpoint {
            asked: asked.clone(),
            known: known.join(", "),
        }
    }

    /// The node's own namespace and a pod's, with their links. The other pods' are not listed: a
    /// path crosses the node's namespace and those of its ends, each of which is asked for.
    fn spaces_of_pod(&self, pod: &Endpoint, uid: &str) -> Result<Vec<Space>, PathError> {
        let node = Endpoint::Node(self.name.clone());
        [(node, Netns::own()), (pod.clone(), Netns::of_pod(uid))]
            .into_iter()
            .map(|(place, netns)| {
                netns
                    .and_then(|netns| Space::open(place.clone(), &netns))
                    .map_err(|error| PathError::Devices { place, error })
            })
            .collect()
    }

    /// All namespaces with their links. A pod may go at any time, so a namespace that cannot be
    /// entered is left out, unless it is the one `asked` for or the node's own.
    fn spaces(&self, asked: Option<&Endpoint>) -> Result<Vec<Space>, PathError> {
        let mut spaces = Vec::new();
        let mut devices = 0;
        for place in self.endpoints() {
            let netns = match self.endpoints.get(&place) {
                Some(name) => netns::open(name),
                None => Netns::own(),
            };
            let needed = asked == Some(&place) || !self.endpoints.contains_key(&place);
            match netns.and_then(|netns| Space::open(place.clone(), &netns)) {
                Ok(space) => {
                    devices += space.links.len();
                    spaces.push(space);
                }
                Err(error) if needed => return Err(PathError::Devices { place, error }),
                Err(error) => tracing::warn!("{place} is left out: {error}"),
            }
        }
        if devices > MAX_DEVICES {
            return Err(PathError::TooManyDevices(devices));
        }
        Ok(spaces)
    }
}

/// How the devices of a namespace are set.
fn settings(space: &Space) -> impl Iterator<Item = DeviceContext> {
    space.links.iter().map(|link| DeviceContext {
        place: space.place.to_string(),
        name: link.name.clone(),
        kind: link.kind,
        mtu: link.mtu,
        qdisc: link.qdisc.clone(),
        driver: ethtool::driver(&space.control, &link.name).ok(),
        offloads: ethtool::offloads(&space.control, &link.name).ok(),
    })
}

/// The index of the device that carries the route: `lo` where `to` is local to the namespace.
fn route(space: &Space, to: IpAddr, from: Option<IpAddr>) -> Result<u32, PathError> {
    let error = |error| PathError::Route {
        place: space.place.clone(),
        to,
        from: from.map_or_else(|| "any".to_owned(), |from| from.to_string()),
        error,
    };
    let ask = |flags| space.netlink.route(to, from, flags);
    let answer = ask(RouteFlags::empty()).map_err(error)?;
    match answer.header.kind {
        // Whichever device has the address, packets to it go over lo.
        RouteType::Local => loopback(space),
        _ => device_of(&answer),
    }
    .ok_or_else(|| error(io::Error::other("the route leads over no device")))
}

/// The index of `lo`.
fn loopback(space: &Space) -> Option<u32> {
    let mut links = space.links.iter();
    let lo = links.find(|link| link.kind == DeviceKind::Loopback)?;
    Some(lo.ifindex)
}

/// The index of the device by which packets for an address of the namespace come in, where others
/// leave by `leaves_by`. `underlay`: by which packets leave for the peer's node.
///
/// What comes over the nodes' network comes by the card that has the address, or by `underlay` where
/// none has it (a dummy device). That is also the way from a pod to the node's own address, where the
/// node sends to the pod through a tunnel; but addresses of the tunnel, or of a bridge of pods, are in
/// the pods' network and stay in the tunnel. All else comes by the device by which it leaves.
fn arrives_at(space: &Space, leaves_by: u32, address: IpAddr, underlay: Option<u32>) -> u32 {
    let kind = |ifindex| {
        let mut links = space.links.iter();
        links
            .find(|link| link.ifindex == ifindex)
            .map(|link| link.kind)
    };
    let (Some(holder), Some(underlay)) = (holder(space, address), underlay) else {
        return leaves_by;
    };
    let of_pods = holder != underlay && kind(holder) == Some(DeviceKind::Bridge);
    let by_tunnel = kind(leaves_by).is_some_and(DeviceKind::is_tunnel);
    let over_nodes = leaves_by == underlay || by_tunnel && holder != leaves_by && !of_pods;
    match kind(holder) {
        _ if !over_nodes => leaves_by,
        Some(DeviceKind::Physical | DeviceKind::Veth) => holder,
        _ => underlay,
    }
}

/// The index of the device that has an address of the namespace, as the kernel's table of local
/// addresses was written; `None` where the kernel does not tell.
fn holder(space: &Space, address: IpAddr) -> Option<u32> {
    let answer = space.netlink.route(address, None, RouteFlags::FibMatch);
    let answer = answer.ok()?;
    (answer.header.kind == RouteType::Local)
        .then(|| device_of(&answer))
        .flatten()
}

/// The device that a route leads over.
fn device_of(route: &RouteMessage) -> Option<u32> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(ifindex) => Some(*ifindex),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        let pod: Endpoint = "pod/lab/n1-a".parse().unwrap();
        Node::new(
            "n1".to_owned(),
            BTreeMap::from([(pod, "t-agent-no-such-netns".to_owned())]),
        )
    }

    fn ask(endpoint: &str) -> ResolveRequest {
        ResolveRequest {
            endpoint: endpoint.parse().unwrap(),
            pod_uid: None,
            local_address: "127.0.0.1".parse().unwrap(),
            peer_address: "127.0.0.1".parse().unwrap(),
            peer_node_address: None,
        }
    }

    #[test]
    fn an_unknown_endpoint_is_told_the_known_ones() {
        for endpoint in [
            "pod/lab/n2-a",
            "node/n2",
            "netns/x",
            "url/http://example.org",
        ] {
            let error = node().resolve(&ask(endpoint)).unwrap_err();
            assert_eq!(error.status(), 404);
            let text = error.to_string();
            assert!(text.ends_with("it has node/n1, pod/lab/n1-a"), "{text}");
        }
    }

    #[test]
    fn loopback_is_resolved_without_privilege_and_pods_may_be_gone() {
        let resolved = node().resolve(&ask("node/n1")).unwrap();
        let ends: Vec<_> = resolved
            .devices
            .iter()
            .filter(|device| device.endpoint)
            .collect();
        assert_eq!(ends.len(), 1);
        assert_eq!(
            (ends[0].kind, ends[0].id.netns),
            (DeviceKind::Loopback, resolved.netns)
        );
        assert!(ends[0].arrival);
        assert_eq!(ends[0].place, "node/n1");
        assert!(resolved.devices.iter().all(|device| !device.underlay));
    }

    #[test]
    fn an_endpoint_that_is_gone_is_an_error() {
        for endpoint in ["pod/lab/n1-a", "netns/t-agent-no-such-netns"] {
            let error = node().resolve(&ask(endpoint)).unwrap_err().to_string();
            assert!(
                error.contains("pod/lab/n1-a") && error.contains("t-agent-no-such"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_foreign_source_address_is_an_error() {
        let mut request = ask("node/n1");
        request.local_address = "198.18.77.77".parse().unwrap();
        let error = node().resolve(&request).unwrap_err();
        assert_eq!(error.status(), 409);
        assert!(
            error.to_string().contains("from its address 198.18.77.77"),
            "{error}"
        );
    }

    #[test]
    fn devices_have_their_settings() {
        let contexts = node().device_contexts().unwrap();
        let lo = contexts.iter().find(|device| device.name == "lo").unwrap();
        assert_eq!(lo.kind, DeviceKind::Loopback);
        assert!(lo.mtu > 0 && lo.offloads.as_ref().is_some_and(|all| !all.is_empty()));
    }
}
