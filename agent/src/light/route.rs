//! One side of an edge: which devices of this node its packets pass, and following them.

use std::sync::Arc;

use nettoll_core::{
    api::{FlowTuple, LightEdge, LightWatch, Protocol, ResolveRequest, Resolved, UserTimes},
    endpoint::PathKind,
    hop::Side,
    report::Stage,
};

use crate::{
    path::Node,
    probe::{Stamps, Way, near},
    runs::{Runs, Watch},
    traffic::now_ns,
};

/// After this time the kernel is asked again.
const FRESH_NS: u64 = 600_000_000_000;

/// An edge as one of its nodes sees it.
#[derive(Debug)]
pub(super) struct Route {
    path: PathKind,
    flow: FlowTuple,
    side: Side,
    ask: ResolveRequest,
    /// What the kernel told, and when.
    known: Option<(u64, Resolved)>,
}

impl Route {
    /// From where the edge's requests come.
    pub(super) fn of_edge(edge: &LightEdge) -> Self {
        Self {
            path: edge.path.kind,
            flow: FlowTuple {
                protocol: edge.protocol,
                client: (edge.from.address, edge.from_port).into(),
                server: (edge.to, edge.to_port).into(),
            },
            side: Side::Client,
            ask: ResolveRequest {
                endpoint: edge.from.endpoint.clone(),
                pod_uid: edge.from.pod_uid.clone(),
                local_address: edge.from.address,
                peer_address: edge.to,
                peer_node_address: edge.to_node,
            },
            known: None,
        }
    }

    /// Where they are answered.
    pub(super) fn of_watch(watch: &LightWatch) -> Self {
        let place = &watch.responder.place;
        Self {
            path: watch.path,
            flow: FlowTuple {
                protocol: Protocol::Udp,
                client: watch.from,
                server: (place.address, watch.responder.port).into(),
            },
            side: Side::Server,
            ask: ResolveRequest {
                endpoint: place.endpoint.clone(),
                pod_uid: place.pod_uid.clone(),
                local_address: place.address,
                peer_address: watch.from.ip(),
                peer_node_address: watch.from_node,
            },
            known: None,
        }
    }

    /// Lets the probe follow the next round. Why not, where it cannot.
    pub(super) fn watch(
        &mut self,
        node: &Node,
        runs: &Arc<Runs>,
    ) -> Result<(Watch, Stamps), String> {
        let now = now_ns();
        if !matches!(&self.known, Some((asked_ns, _)) if now.saturating_sub(*asked_ns) < FRESH_NS) {
            let mut resolved = node.resolve(&self.ask).map_err(|error| error.to_string())?;
            resolved.devices = near(&resolved.devices).cloned().collect();
            self.known = Some((now, resolved));
        }
        let nodes = [node.name().to_owned()];
        runs.watch(&self.flow, &self.way(&nodes)?)
    }

    /// The size of packets that the path claims to carry from here.
    pub(super) fn claimed_mtu(&self, node: &Node) -> Result<u32, String> {
        node.claimed_mtu(&self.ask)
            .map_err(|error| error.to_string())
    }

    /// What was seen in the round that is over.
    pub(super) fn stages(
        &mut self,
        node: &Node,
        watch: Watch,
        user_times: Vec<UserTimes>,
    ) -> Result<Vec<Stage>, String> {
        let nodes = [node.name().to_owned()];
        let stages = watch.end(self.path, &self.way(&nodes)?, user_times);
        if stages.as_ref().is_ok_and(Vec::is_empty) {
            // The packets went elsewhere, or nowhere.
            self.known = None;
        }
        stages
    }

    fn way<'a>(&'a self, nodes: &'a [String]) -> Result<Way<'a>, String> {
        let (_, resolved) = self
            .known
            .as_ref()
            .ok_or("the edge's devices are not known")?;
        // The other end is on another node.
        let [client, server] = match self.side {
            Side::Client => [resolved.netns, 0],
            Side::Server => [0, resolved.netns],
        };
        Ok(Way {
            devices: &resolved.devices,
            nodes,
            client,
            server,
        })
    }
}

#[cfg(test)]
mod tests {
    use nettoll_core::device::{Device, DeviceId, DeviceKind};

    fn device(netns: u32, ifindex: u32, kind: DeviceKind, peer: Option<(u32, u32)>) -> Device {
        Device {
            id: DeviceId { netns, ifindex },
            name: String::new(),
            place: String::new(),
            node: "n1".to_owned(),
            kind,
            master: None,
            peer: peer.map(|(netns, ifindex)| DeviceId { netns, ifindex }),
            lower: None,
            underlay: false,
            endpoint: false,
            arrival: false,
            mtu: 1_500,
            tunnel_port: None,
            qdisc: None,
        }
    }

    #[test]
    fn other_pods_veths_are_left_out() {
        let own = Device {
            endpoint: true,
            ..device(2, 2, DeviceKind::Veth, Some((1, 7)))
        };
        // The lab's nodes are joined by one.
        let underlay = Device {
            underlay: true,
            ..device(1, 2, DeviceKind::Veth, None)
        };
        let near = [
            own,
            device(1, 7, DeviceKind::Veth, Some((2, 2))),
            underlay,
            device(1, 3, DeviceKind::Bridge, None),
            device(1, 4, DeviceKind::Vxlan, None),
        ];
        let mut all = near.to_vec();
        all.push(device(1, 8, DeviceKind::Veth, None));
        all.push(device(1, 9, DeviceKind::Veth, Some((3, 2))));
        let kept: Vec<_> = super::near(&all).cloned().collect();
        assert_eq!(kept, near);
    }
}
