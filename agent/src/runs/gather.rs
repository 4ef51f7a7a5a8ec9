//! What runs counted: of one run while it lives, of all since the agent began.

use std::{collections::BTreeMap, sync::Arc};

use nettoll_core::api::RunSide;

use super::{
    Runs,
    instruments::{Counted, Observation, lock},
    run::Run,
};
use crate::{metrics::Totals, probe::Way, traffic::Seen};

impl Runs {
    /// Moves what was counted of the run to the totals of the past and frees what holds it.
    pub(super) fn forget(&self, run: &Run) {
        let mut past = lock(&self.past);
        self.add_to(&mut past, run);
        self.instruments.forget(&mut lock(&run.observation));
        lock(&self.runs).remove(&run.spec.id);
    }

    /// What all runs counted since the agent began: those that ended, and those that live so
    /// far. Nothing in it ever gets less.
    pub(crate) fn totals(&self) -> Totals {
        let past = lock(&self.past);
        let mut totals = past.clone();
        let runs: Vec<Arc<Run>> = lock(&self.runs).values().cloned().collect();
        for run in runs {
            self.add_to(&mut totals, &run);
        }
        if let Some((programs, lost)) = self.instruments.counters_since_load() {
            (totals.programs, totals.lost) = (programs, lost);
        }
        totals
    }

    fn add_to(&self, totals: &mut Totals, run: &Run) {
        let observation = lock(&run.observation);
        let side = match &observation.sealed {
            Some(sealed) => sealed.clone(),
            None => self.measured(run, &observation),
        };
        totals.add_side(run.spec.path.kind, &Way::of(&run.spec), &side);
    }

    /// The hops and stages that were seen in the run's rounds with the probe so far.
    pub(super) fn measured(&self, run: &Run, observation: &Observation) -> RunSide {
        let Counted {
            edges,
            self_times,
            drops,
        } = self.instruments.counted(observation);
        RunSide {
            node: self.node.clone(),
            edges,
            self_times,
            drops,
            seam_ns: None,
            exemplars: Vec::new(),
            user_times: run.seen.iter().map(Seen::user_times).collect(),
            tcp: None,
            http: None,
            programs: Vec::new(),
            missing: self.instruments.missing_hooks(&self.node),
            lost: BTreeMap::new(),
            stacks: None,
        }
    }
}
