//! Where a followed flow's packets may be met.

use nettoll_core::{api::RunSpec, device::Device};

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
}
