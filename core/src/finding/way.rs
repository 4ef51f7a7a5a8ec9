//! The devices that a run's packets passed, on each side.

use std::collections::BTreeSet;

use crate::{
    endpoint::Endpoint,
    hop::Side,
    report::{DeviceContext, NodeContext, Report, Run},
};

/// One side's devices that were passed.
#[derive(Clone, Debug)]
pub struct Way<'a> {
    /// Which side.
    pub side: Side,
    /// The endpoint's own first, then the node's, each in the order of the agent's list.
    pub devices: Vec<&'a DeviceContext>,
    /// How many of them are the endpoint's.
    pub(super) own: usize,
    /// Devices of the stages that lead to the wire.
    pub(super) to_wire: BTreeSet<&'a str>,
}

/// Both sides' devices that the run's stages name. A side whose node nobody knows is left out.
#[must_use]
pub fn ways<'a>(report: &'a Report, run: &'a Run) -> Vec<Way<'a>> {
    // A service is no place: its backend is.
    let to = run.backend.as_ref().unwrap_or(&run.path.to);
    let sides = [(Side::Client, &run.path.from), (Side::Server, to)];
    let way = |(side, endpoint): (Side, &Endpoint)| {
        let stages = run.stages.iter().flatten();
        let here = stages.filter(|stage| stage.side == Some(side));
        let named = |wire: bool| -> BTreeSet<&str> {
            here.clone()
                .filter(|stage| !wire || ["wire", "driver"].contains(&&*stage.stage))
                .filter_map(|stage| stage.device.as_deref())
                .collect()
        };
        let passed = named(false);
        let node = node_of(endpoint, &passed, &report.context.nodes)?;
        let at = |place: String| {
            let here = node.devices.iter();
            here.filter(move |device| device.place == place)
                .filter(|device| passed.contains(&*device.name))
        };
        let own_place = endpoint.to_string();
        let node_place = format!("node/{}", node.node);
        let mut devices: Vec<_> = at(own_place.clone()).collect();
        let own = devices.len();
        if node_place != own_place {
            devices.extend(at(node_place));
        }
        Some(Way {
            side,
            devices,
            own,
            to_wire: named(true),
        })
    };
    sides.into_iter().filter_map(way).collect()
}

impl<'a> Way<'a> {
    /// The devices of the endpoint's own namespace, where that is a pod's: a node's are not told
    /// from those that packets only pass.
    pub(super) fn pod(&self) -> impl Iterator<Item = &'a DeviceContext> {
        let own = self.devices.iter().take(self.own).copied();
        own.filter(|device| device.place.starts_with("pod/"))
    }

    /// The tunnels.
    pub(super) fn tunnels(&self) -> impl Iterator<Item = &'a DeviceContext> {
        let all = self.devices.iter().copied();
        all.filter(|device| device.kind.is_tunnel())
    }

    /// The devices from which packets leave the node.
    pub(super) fn underlay(&self) -> impl Iterator<Item = &'a DeviceContext> {
        let all = self.devices.iter().copied();
        all.filter(|device| {
            device.place.starts_with("node/") && self.to_wire.contains(&*device.name)
        })
    }
}

/// The node of an endpoint: the one that knows it, else the one that has most of the devices that
/// were passed there.
fn node_of<'a>(
    endpoint: &Endpoint,
    passed: &BTreeSet<&str>,
    nodes: &'a [NodeContext],
) -> Option<&'a NodeContext> {
    let place = endpoint.to_string();
    nodes.iter().max_by_key(|node| {
        let mut devices = node.devices.iter();
        let known = devices.any(|device| device.place == place);
        let devices = node.devices.iter();
        let common = devices.filter(|device| passed.contains(&*device.name));
        (known, common.count())
    })
}
