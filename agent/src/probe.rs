//! The probe: follows a run's packets through the kernel.

use std::collections::BTreeMap;

use nettoll_core::{
    api::FlowTuple,
    device::Device,
    hop::{Direction, Edge, SelfTime},
    report::Program,
};

/// Why there is no probe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// The binary holds no eBPF object.
    #[error("this agent was built without its eBPF programs; build it with 'cargo xtask build'")]
    NotBuilt,
}

/// The loaded programs and their maps.
#[derive(Debug)]
pub(crate) struct Probe {}

/// A followed flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowId(pub(crate) u16);

impl Probe {
    /// Resolves the offsets, loads the programs; nothing is attached yet.
    pub(crate) fn load() -> Result<Self, ProbeError> {
        Err(ProbeError::NotBuilt)
    }

    /// Attaches the programs. Doing so twice changes nothing.
    pub(crate) fn attach(&mut self) -> Result<(), ProbeError> {
        Err(ProbeError::NotBuilt)
    }

    /// Detaches the programs. Doing so twice changes nothing.
    pub(crate) fn detach(&mut self) {}

    /// Follows a flow's packets over those of `devices` whose node is in `count_nodes`, and to
    /// the first event on another node's underlay device (the end of `wire`).
    pub(crate) fn follow(
        &mut self,
        _flow: &FlowTuple,
        _devices: &[Device],
        _count_nodes: &[String],
    ) -> Result<FlowId, ProbeError> {
        Err(ProbeError::NotBuilt)
    }

    /// The flow's stamps, for its traffic thread.
    pub(crate) fn stamps(&self, _flow: FlowId) -> Stamps {
        Stamps::none()
    }

    /// What was counted between the flow's marks so far.
    pub(crate) fn edges(&self, _flow: FlowId) -> Result<Vec<Edge>, ProbeError> {
        Err(ProbeError::NotBuilt)
    }

    /// Exact self times between the flow's marks so far.
    pub(crate) fn self_times(&self, _flow: FlowId) -> Result<Vec<SelfTime>, ProbeError> {
        Err(ProbeError::NotBuilt)
    }

    /// The programs and their counts since load (`node` is left empty).
    pub(crate) fn programs(&self) -> Result<Vec<Program>, ProbeError> {
        Err(ProbeError::NotBuilt)
    }

    /// What was lost since load, all reasons listed.
    pub(crate) fn lost(&self) -> Result<BTreeMap<String, u64>, ProbeError> {
        Err(ProbeError::NotBuilt)
    }

    /// Ends following; the flow's counts are gone.
    pub(crate) fn unfollow(&mut self, _flow: FlowId) {}
}

/// The memory that a flow's traffic threads share with the probe. Cheap to clone; all methods
/// are a few plain stores and loads. Times are of `CLOCK_MONOTONIC`, in ns.
#[derive(Clone, Debug)]
pub(crate) struct Stamps {}

impl Stamps {
    /// Stamps that nobody reads, for rounds without a probe.
    pub(crate) fn none() -> Self {
        Self {}
    }

    /// A round's marks: only between them is anything counted.
    pub(crate) fn mark(&self, _counted: bool) {}

    /// The traffic thread is about to send a message in this direction.
    pub(crate) fn sending(&self, _direction: Direction, _now_ns: u64) {}

    /// The traffic thread has received a message of this direction: the time since it was
    /// received on the endpoint's device (`socket_rx`), `None` where the probe saw none.
    pub(crate) fn received(&self, _direction: Direction, _now_ns: u64) -> Option<u64> {
        None
    }
}
