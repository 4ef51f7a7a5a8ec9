//! The probe on light rounds, as long as no run takes it.

use std::sync::atomic::Ordering;

use nettoll_core::api::{Flow, FlowTuple};

use super::{Counted, Instruments, lock, refused};
use crate::{
    probe::{FlowId, Hooks, ProbeError, Stamps, Way},
    runs::RunError,
};

/// Of light rounds: exact self times, as everywhere.
const LIGHT_HOOKS: Hooks = Hooks {
    exact: true,
    copy: false,
    ready: false,
};

/// The hooks at which the wire begins and ends.
const WIRE: [&str; 3] = ["net_dev_start_xmit", "netif_rx", "napi_gro_receive_entry"];

impl Instruments {
    /// Before a light round: the probe is attached and follows its flow. Also gives what
    /// [`Self::unwatch`] wants to know.
    pub(in crate::runs) fn watch(
        &self,
        flow: &FlowTuple,
        way: &Way<'_>,
    ) -> Result<(FlowId, u64, Stamps), RunError> {
        let mut probe = lock(&self.probe);
        let probe = probe.get(|| self.load()).map_err(RunError::Probe)?;
        // What two nodes did not see of a light round is taken for the wire.
        if let Some(hook) = WIRE.into_iter().find(|hook| !probe.found().have(hook)) {
            return Err(refused(ProbeError::NoHook(hook)));
        }
        let id = probe.follow(&Flow::from(*flow), way).map_err(refused)?;
        if let Err(error) = probe.attach(LIGHT_HOOKS) {
            // The first error is the one to tell.
            let _ = probe.unfollow(id);
            return Err(refused(error));
        }
        self.watched.fetch_add(1, Ordering::Relaxed);
        let taken = self.taken.load(Ordering::Relaxed);
        Ok((id, taken, probe.stamps(id)))
    }

    /// After a light round: what was counted in it, `None` where a run took the probe meanwhile.
    /// Whoever follows last detaches, unless `keep`.
    pub(in crate::runs) fn unwatch(
        &self,
        id: FlowId,
        taken: u64,
        keep: bool,
    ) -> Result<Option<Counted>, RunError> {
        let mut probe = lock(&self.probe);
        let Some(probe) = probe.loaded() else {
            return Ok(None);
        };
        let whole = taken == self.taken.load(Ordering::Relaxed);
        let counted = whole.then(|| Counted::of(probe, id));
        let ended = probe.unfollow(id);
        if self.watched.fetch_sub(1, Ordering::Relaxed) == 1 && !keep {
            probe.detach();
        }
        ended.map_err(refused)?;
        Ok(counted)
    }
}
