//! The probe on a light round. Runs come first: a round that begins while there is a run goes
//! without the probe, and a run that begins takes it away.

use std::{collections::BTreeMap, sync::Arc};

use nettoll_core::{
    api::{FlowTuple, RunSide, UserTimes},
    endpoint::PathKind,
    report::Stage,
    stage::{End, Journey, waterfall},
};

use super::{
    Runs,
    instruments::{Counted, lock},
};
use crate::probe::{FlowId, Stamps, Way};

/// A light round that the probe follows, until this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    runs: Arc<Runs>,
    flow: Option<FlowId>,
    /// How often runs had taken the probe when the round began.
    taken: u64,
}

impl Runs {
    /// Follows a flow for a light round. Why not, where it cannot be.
    pub(crate) fn watch(
        self: &Arc<Self>,
        flow: &FlowTuple,
        way: &Way<'_>,
    ) -> Result<(Watch, Stamps), String> {
        // No round of a run is opened meanwhile.
        let _open = lock(&self.open);
        if !lock(&self.runs).is_empty() {
            return Err("a run has the probe".to_owned());
        }
        let (flow, taken, stamps) = self
            .instruments
            .watch(flow, way)
            .map_err(|error| error.to_string())?;
        let watch = Watch {
            runs: Arc::clone(self),
            flow: Some(flow),
            taken,
        };
        Ok((watch, stamps))
    }
}

impl Watch {
    /// The round is over: its stages. Why they are not told, where they are not.
    pub(crate) fn end(
        mut self,
        path: PathKind,
        way: &Way<'_>,
        user_times: Vec<UserTimes>,
    ) -> Result<Vec<Stage>, String> {
        let side = self.side(user_times)?;
        let end = |netns| End {
            node: (way.devices.iter().find(|device| device.id.netns == netns))
                .map_or("", |device| device.node.as_str()),
            netns,
        };
        lock(&self.runs.past).add_side(path, way, &side);
        let found = waterfall(&Journey {
            sides: &[&side],
            devices: way.devices,
            client: end(way.client),
            server: end(way.server),
            // Only what was seen is told: nothing is derived from a round-trip time.
            one_kernel: true,
            rtt_mean_ns: None,
            requests: 0,
        });
        Ok(found.stages)
    }

    fn side(&mut self, user_times: Vec<UserTimes>) -> Result<RunSide, String> {
        let Counted {
            edges,
            self_times,
            drops,
        } = self
            .unwatch()?
            .ok_or("a run took the probe during the round")?;
        Ok(RunSide {
            node: self.runs.node.clone(),
            edges,
            self_times,
            drops,
            seam_ns: None,
            user_times,
            exemplars: Vec::new(),
            http: None,
            tcp: None,
            programs: Vec::new(),
            missing: self.runs.instruments.missing_hooks(&self.runs.node),
            lost: BTreeMap::new(),
            stacks: None,
        })
    }

    fn unwatch(&mut self) -> Result<Option<Counted>, String> {
        let Some(flow) = self.flow.take() else {
            return Ok(None);
        };
        let _open = lock(&self.runs.open);
        let keep = !lock(&self.runs.runs).is_empty();
        self.runs
            .instruments
            .unwatch(flow, self.taken, keep)
            .map_err(|error| error.to_string())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Err(error) = self.unwatch() {
            tracing::warn!(error, "cannot end following a light round");
        }
    }
}
