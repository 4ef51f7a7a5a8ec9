//! The size of packets that a path claims to carry.

use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMetric};
use nettoll_core::api::ResolveRequest;

use super::{Node, PathError, route, space::Space};

impl Node {
    /// The MTU of the device by which an endpoint's packets leave, or of their route where one is
    /// configured that is smaller. What the kernel learned from others on the way does not count.
    pub(crate) fn claimed_mtu(&self, path: &ResolveRequest) -> Result<u32, PathError> {
        let place = || path.endpoint.clone();
        let netns = self.netns(&path.endpoint, path.pod_uid.as_deref())?;
        let devices = |error| PathError::Devices {
            place: place(),
            error,
        };
        let space = Space::open(place(), &netns).map_err(devices)?;
        let (to, from) = (path.peer_address, Some(path.local_address));
        let ifindex = route(&space, to, from)?;
        let link = space.links.iter().find(|link| link.ifindex == ifindex);
        let gone = || devices(std::io::Error::other("the route's device went away"));
        let of_device = link.ok_or_else(gone)?.mtu;
        let configured = space.netlink.route(to, from, RouteFlags::FibMatch);
        // Not told by every kernel.
        let metrics = configured.iter().flat_map(|route| &route.attributes);
        let of_route = metrics.filter_map(|attribute| match attribute {
            RouteAttribute::Metrics(metrics) => metrics.iter().find_map(|metric| match metric {
                RouteMetric::Mtu(mtu) => Some(*mtu),
                _ => None,
            }),
            _ => None,
        });
        Ok(of_route.fold(of_device, u32::min))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_that_of_the_device() {
        let node = Node::new("n1".to_owned(), BTreeMap::new());
        let contexts = node.device_contexts().unwrap();
        let lo = contexts.iter().find(|device| device.name == "lo").unwrap();
        let path = ResolveRequest {
            endpoint: "node/n1".parse().unwrap(),
            pod_uid: None,
            local_address: "127.0.0.1".parse().unwrap(),
            peer_address: "127.0.0.1".parse().unwrap(),
            peer_node_address: None,
        };
        assert_eq!(node.claimed_mtu(&path).unwrap(), lo.mtu);
    }
}
