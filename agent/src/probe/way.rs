//! Where a followed flow's packets may be met.

use nettoll_core::{
    api::RunSpec,
    device::{Device, DeviceKind},
};

/// What the packets of a flow may pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    /// The devices, of both nodes where both are known.
    pub(crate) devices: &'a [Device],
    /// The nodes on whose devices hops are counted.
    pub(crate) nodes: &'a [String],
    /// Inode of the client's network namespace.
    pub(crate) client: u32,
    /// Inode of the server's; 0 where that is another node's affair.
    pub(crate) server: u32,
}

impl<'a> Way<'a> {
    /// That of a run.
    pub(crate) fn of(spec: &'a RunSpec) -> Self {
        Self {
            devices: &spec.devices,
            nodes: &spec.count_nodes,
            client: spec.client.netns,
            server: spec.server.netns,
        }
    }

    /// Its devices, and where these are more than so many those that are near its ends.
    pub(crate) fn within(&self, most: usize) -> Vec<&'a Device> {
        if self.devices.len() > most {
            near(self.devices).collect()
        } else {
            self.devices.iter().collect()
        }
    }
}

/// Those without other pods' veths: a node may have more of them than the probe has room for.
pub(crate) fn near(devices: &[Device]) -> impl Iterator<Item = &Device> {
    let endpoints = devices.iter().filter(|device| device.endpoint);
    let ends: Vec<_> = endpoints
        .flat_map(|device| [Some(device.id), device.peer])
        .flatten()
        .collect();
    devices.iter().filter(move |device| {
        device.kind != DeviceKind::Veth
            || device.underlay
            || ends.contains(&device.id)
            || device.peer.is_some_and(|peer| ends.contains(&peer))
    })
}
