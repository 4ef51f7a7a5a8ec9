//! The probe on one edge: which devices its packets pass, and following them.

use nettoll_core::{
    api::{FlowTuple, LightEdge, Protocol, ResolveRequest, Resolved, UserStage},
    device::{Device, DeviceKind},
    hop::{Direction, Side},
    report::Stage,
};

use super::pacer::Probed;
use crate::{
    path::Node,
    probe::Way,
    runs::{Runs, Watch},
    traffic::{Seen, now_ns},
};

/// After this time the kernel is asked again.
const FRESH_NS: u64 = 600_000_000_000;

/// The devices of this node that an edge's packets pass, as the kernel told a while ago.
#[derive(Debug, Default)]
pub(super) struct Route(Option<(u64, Resolved)>);

impl Route {
    /// Lets the probe follow the edge's next round. Why not, where it cannot.
    pub(super) fn watch(
        &mut self,
        edge: &LightEdge,
        node: &Node,
        runs: &std::sync::Arc<Runs>,
    ) -> Result<Probed, String> {
        let now = now_ns();
        if !matches!(&self.0, Some((asked_ns, _)) if now.saturating_sub(*asked_ns) < FRESH_NS) {
            self.0 = Some((now, resolve(edge, node)?));
        }
        let nodes = [node.name().to_owned()];
        let (watch, stamps) = runs.watch(&flow(edge), &self.way(&nodes)?)?;
        Ok(Probed {
            watch,
            stamps,
            socket_rx: Seen::new(UserStage::SocketRx, Side::Client, Direction::Response),
        })
    }

    /// What was seen in the round that is over.
    pub(super) fn stages(
        &mut self,
        edge: &LightEdge,
        node: &Node,
        watch: Watch,
        socket_rx: &Seen,
    ) -> Result<Vec<Stage>, String> {
        let nodes = [node.name().to_owned()];
        let stages = watch.end(edge.path.kind, &self.way(&nodes)?, socket_rx);
        if stages.as_ref().is_ok_and(Vec::is_empty) {
            // The packets went elsewhere, or nowhere.
            self.0 = None;
        }
        stages
    }

    fn way<'a>(&'a self, nodes: &'a [String]) -> Result<Way<'a>, String> {
        let (_, resolved) = self.0.as_ref().ok_or("the edge's devices are not known")?;
        Ok(Way {
            devices: &resolved.devices,
            nodes,
            client: resolved.netns,
            server: 0,
        })
    }
}

fn flow(edge: &LightEdge) -> FlowTuple {
    FlowTuple {
        protocol: Protocol::Udp,
        client: (edge.from.address, edge.from_port).into(),
        server: (edge.to, edge.to_port).into(),
    }
}

fn resolve(edge: &LightEdge, node: &Node) -> Result<Resolved, String> {
    let mut resolved = node
        .resolve(&ResolveRequest {
            endpoint: edge.from.endpoint.clone(),
            pod_uid: edge.from.pod_uid.clone(),
            local_address: edge.from.address,
            peer_address: edge.to,
            peer_node_address: edge.to_node,
        })
        .map_err(|error| error.to_string())?;
    keep_near(&mut resolved.devices);
    Ok(resolved)
}

/// Leaves other pods' veths out: a node may have more than the probe has room for.
fn keep_near(devices: &mut Vec<Device>) {
    let ends: Vec<_> = devices
        .iter()
        .filter(|device| device.endpoint)
        .flat_map(|device| [Some(device.id), device.peer])
        .flatten()
        .collect();
    devices.retain(|device| {
        device.kind != DeviceKind::Veth
            || device.underlay
            || ends.contains(&device.id)
            || device.peer.is_some_and(|peer| ends.contains(&peer))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use nettoll_core::device::DeviceId;

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
            mtu: 1_500,
            vxlan_port: None,
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
        keep_near(&mut all);
        assert_eq!(all, near);
    }
}
