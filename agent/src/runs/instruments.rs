//! The probe and the profiler, shared by all runs and loaded when the first run wants them.

mod sampler;
mod watch;

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use nettoll_core::{
    api::{ExemplarSide, Flow, RunSide, RunSpec, Stacks},
    hop::{Dropped, Edge, SelfTime},
    report::{MissingHook, Program, TestType},
};

use super::{RunError, counters::Counters};
use crate::{
    probe::{Calibration, FlowId, Found, Hooks, Passed, Probe, ProbeError, Settings, Stamps, Way},
    profile::{Kallsyms, Profiler},
    traffic::{Sample, Slowest},
};

/// Loaded at most once.
#[derive(Debug)]
enum Lazy<T> {
    NotYet,
    Loaded(T),
    Failed(String),
}

impl<T> Lazy<T> {
    fn get<E: Display>(&mut self, load: impl FnOnce() -> Result<T, E>) -> Result<&mut T, String> {
        if let Self::NotYet = self {
            *self = match load() {
                Ok(loaded) => Self::Loaded(loaded),
                Err(error) => Self::Failed(error.to_string()),
            };
        }
        match self {
            Self::Loaded(loaded) => Ok(loaded),
            Self::Failed(why) => Err(why.clone()),
            Self::NotYet => Err("it is being loaded".to_owned()),
        }
    }

    fn loaded(&mut self) -> Option<&mut T> {
        if let Self::Loaded(loaded) = self {
            Some(loaded)
        } else {
            None
        }
    }
}

/// A profiler's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Free,
    Used,
    /// Its run was deleted, its samples are still there.
    Abandoned,
}

/// The probe and the profiler.
#[derive(Debug)]
pub(super) struct Instruments {
    probe: Mutex<Lazy<Probe>>,
    /// Rises whenever a run takes the probe from the light rounds. Changed under the probe's lock.
    taken: AtomicU64,
    /// Light rounds that are followed. Changed under the probe's lock.
    watched: AtomicU64,
    profiler: Mutex<Lazy<Profiler>>,
    /// Opened at once: later nobody may.
    kallsyms: Kallsyms,
    /// Slot `n` of the profiler is number `n - 1` here.
    slots: Mutex<[Slot; 255]>,
    settings: Settings,
}

/// What was counted of a flow.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) edges: Vec<Edge>,
    pub(super) self_times: Vec<SelfTime>,
    /// `None` where nobody looked.
    pub(super) drops: Option<Vec<Dropped>>,
}

impl Counted {
    fn of(probe: &Probe, flow: FlowId) -> Self {
        let looked = probe.found().have("kfree_skb");
        let drops = looked.then(|| probe.drops(flow));
        Self {
            edges: probe.edges(flow),
            self_times: probe.self_times(flow),
            drops: drops.and_then(|drops| {
                drops
                    .inspect_err(|error| tracing::warn!(%error, "cannot read what was dropped"))
                    .ok()
            }),
        }
    }
}

/// What the probe and the profiler hold for one run.
#[derive(Default)]
pub(super) struct Observation {
    /// From its first round with the probe on.
    flow: Option<FlowId>,
    slot: Option<u8>,
    before: Option<Counters>,
    counters: Counters,
    /// In a round that calibrates.
    calibration: Option<Calibration>,
    /// In a round that measures seams.
    measures_seams: bool,
    /// All that were passed so far.
    pub(super) seams: Passed,
    /// What was measured before the run's programs were calibrated, and will not change.
    pub(super) sealed: Option<RunSide>,
}

impl fmt::Debug for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observation")
            .field("flow", &self.flow)
            .finish_non_exhaustive()
    }
}

pub(super) fn refused(error: ProbeError) -> RunError {
    RunError::Probe(error.to_string())
}

/// Which programs a test's rounds need beside those of the stages: exact self times everywhere
/// but in `path_cost`, which measures the probe's own cost too; the copy's end for streams,
/// whose packets no traffic thread stamps one by one; the moment at which a socket has data where a
/// thread waits for one message at a time.
fn hooks(test: TestType) -> Hooks {
    Hooks {
        exact: test != TestType::PathCost,
        copy: test.is_stream(),
        ready: matches!(test, TestType::TcpRr | TestType::UdpRr),
    }
}

impl Instruments {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            probe: Mutex::new(Lazy::NotYet),
            taken: AtomicU64::new(0),
            watched: AtomicU64::new(0),
            profiler: Mutex::new(Lazy::NotYet),
            kallsyms: Kallsyms::open(),
            slots: Mutex::new([Slot::Free; 255]),
        }
    }

    /// There is no probe and no profiler from now on, and nothing is loaded for either.
    pub(super) fn switch_off(&self, why: &str) {
        *lock(&self.probe) = Lazy::Failed(why.to_owned());
        *lock(&self.profiler) = Lazy::Failed(why.to_owned());
    }

    fn load(&self) -> Result<Probe, ProbeError> {
        Probe::load(&self.settings)
    }

    /// What became of the probe's hooks, if it is loaded.
    pub(super) fn found(&self) -> Option<Found> {
        Some(lock(&self.probe).loaded()?.found().clone())
    }

    /// The hooks that it does without, in the words of a report of this node.
    pub(super) fn missing_hooks(&self, node: &str) -> Vec<MissingHook> {
        let mut missing = lock(&self.probe)
            .loaded()
            .map(|probe| probe.missing_hooks())
            .unwrap_or_default();
        for hook in &mut missing {
            node.clone_into(&mut hook.node);
        }
        missing
    }

    /// Why there is no probe.
    pub(super) fn probe_unavailable(&self) -> Option<String> {
        lock(&self.probe).get(|| self.load()).err()
    }

    /// Why there are no samples.
    pub(super) fn profile_unavailable(&self) -> Option<String> {
        lock(&self.profiler)
            .get(|| Profiler::load(&self.kallsyms))
            .err()
    }

    /// Before a round with the probe: it is attached and follows the run's flow.
    pub(super) fn begin(
        &self,
        observation: &mut Observation,
        flow: &Flow,
        spec: &RunSpec,
    ) -> Result<Stamps, RunError> {
        let mut probe = lock(&self.probe);
        let probe = probe.get(|| self.load()).map_err(RunError::Probe)?;
        let id = match observation.flow {
            Some(id) => id,
            None => *observation
                .flow
                .insert(probe.follow(flow, &Way::of(spec)).map_err(refused)?),
        };
        self.take();
        probe.attach(hooks(spec.test)).map_err(refused)?;
        observation.before = Some(Counters::of(probe));
        let stamps = probe.stamps(id);
        if matches!(spec.test, TestType::TcpRr | TestType::UdpRr) {
            stamps.keep_hops();
        }
        Ok(stamps)
    }

    /// The round that begins calibrates the probe, which is attached.
    pub(super) fn calibrate(&self, observation: &mut Observation) -> Result<(), RunError> {
        if let Some(probe) = lock(&self.probe).loaded() {
            observation.calibration = Some(probe.begin_calibration().map_err(refused)?);
        }
        Ok(())
    }

    /// Before a round that measures seams.
    pub(super) fn begin_seams(&self, observation: &mut Observation) -> Result<(), RunError> {
        let mut probe = lock(&self.probe);
        let probe = probe.get(|| self.load()).map_err(RunError::Probe)?;
        self.take();
        probe.begin_seams().map_err(refused)?;
        observation.measures_seams = true;
        Ok(())
    }

    /// Before a round without the probe, and when there are no runs any more.
    pub(super) fn detach(&self) {
        if let Some(probe) = lock(&self.probe).loaded() {
            self.take();
            probe.detach();
        }
    }

    fn take(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// After a round: what was counted in it is the run's, unless it calibrated.
    pub(super) fn end(&self, observation: &mut Observation) -> Result<(), RunError> {
        let calibration = observation.calibration.take();
        let mut probe = lock(&self.probe);
        if std::mem::take(&mut observation.measures_seams)
            && let Some(probe) = probe.loaded()
        {
            observation.seams += probe.end_seams().map_err(refused)?;
        }
        let (Some(before), Some(probe)) = (observation.before.take(), probe.loaded()) else {
            return Ok(());
        };
        if let Some(slice) = calibration {
            probe.end_calibration(slice).map_err(refused)?;
            observation.counters.learn_costs(&Counters::of(probe));
        } else {
            observation.counters.add(&before, &Counters::of(probe));
        }
        Ok(())
    }

    /// What samples into the run's slot, at `hz`. No round may be open.
    pub(super) fn sample(
        self: &Arc<Self>,
        observation: &mut Observation,
        hz: u32,
    ) -> Result<Sample, RunError> {
        let mut profiler = lock(&self.profiler);
        let profiler = profiler
            .get(|| Profiler::load(&self.kallsyms))
            .map_err(RunError::Profile)?;
        let slot = match observation.slot {
            Some(slot) => slot,
            None => {
                let mut slots = lock(&self.slots);
                let unused = slots
                    .iter_mut()
                    .zip(1_u8..)
                    .find(|(slot, _)| **slot != Slot::Used);
                let (slot, number) =
                    unused.ok_or_else(|| RunError::Profile("all slots are used".to_owned()))?;
                if *slot == Slot::Abandoned {
                    profiler
                        .take(number)
                        .map_err(|error| RunError::Profile(error.to_string()))?;
                }
                *slot = Slot::Used;
                *observation.slot.insert(number)
            }
        };
        let instruments = Arc::clone(self);
        let switch = move |on| {
            let mut profiler = lock(&instruments.profiler);
            let profiler = profiler.loaded().ok_or("the sampler is not loaded")?;
            if on {
                profiler.begin(slot, hz).map_err(|error| error.to_string())
            } else {
                profiler.end();
                Ok(())
            }
        };
        sampler::start(switch).map_err(|error| RunError::Profile(error.to_string()))
    }

    /// What was counted of the run's flow so far.
    pub(super) fn counted(&self, observation: &Observation) -> Counted {
        let mut probe = lock(&self.probe);
        match (observation.flow, probe.loaded()) {
            (Some(flow), Some(probe)) => Counted::of(probe, flow),
            _ => Counted::default(),
        }
    }

    /// What threads kept of the slowest requests of a run, while its flow is followed.
    pub(super) fn exemplars(&self, slowest: &[Slowest]) -> Vec<ExemplarSide> {
        let mut probe = lock(&self.probe);
        let Some(probe) = probe.loaded() else {
            return Vec::new();
        };
        let kept = slowest.iter();
        kept.flat_map(|it| it.exemplars(|hops| probe.hops(hops)))
            .collect()
    }

    /// The programs' counts and the losses in the run's rounds with the probe.
    pub(super) fn counters(
        &self,
        observation: &Observation,
        node: &str,
    ) -> (Vec<Program>, BTreeMap<String, u64>) {
        let Counters { mut programs, lost } = observation.counters.clone();
        for program in &mut programs {
            node.clone_into(&mut program.node);
        }
        (programs, lost)
    }

    /// The programs' counts and the losses since the probe was loaded, if it is.
    pub(super) fn counters_since_load(&self) -> Option<(Vec<Program>, BTreeMap<String, u64>)> {
        let Counters { programs, lost } = Counters::of(lock(&self.probe).loaded()?);
        Some((programs, lost))
    }

    /// Takes the run's stacks, if it has any. No round may be open.
    pub(super) fn stacks(&self, observation: &mut Observation) -> Result<Option<Stacks>, RunError> {
        let Some(slot) = observation.slot else {
            return Ok(None);
        };
        let mut profiler = lock(&self.profiler);
        let profiler = profiler
            .get(|| Profiler::load(&self.kallsyms))
            .map_err(RunError::Profile)?;
        let stacks = profiler
            .take(slot)
            .map_err(|error| RunError::Profile(error.to_string()))?;
        observation.slot = None;
        self.leave(slot, Slot::Free);
        Ok(Some(stacks))
    }

    /// Frees what is held for the run.
    pub(super) fn forget(&self, observation: &mut Observation) {
        observation.calibration = None;
        if let (Some(flow), Some(probe)) = (observation.flow.take(), lock(&self.probe).loaded())
            && let Err(error) = probe.unfollow(flow)
        {
            tracing::warn!(%error, "cannot end following a flow");
        }
        if let Some(slot) = observation.slot.take() {
            self.leave(slot, Slot::Abandoned);
        }
    }

    fn leave(&self, number: u8, left: Slot) {
        if let Some(slot) = lock(&self.slots).get_mut(usize::from(number).wrapping_sub(1)) {
            *slot = left;
        }
    }
}

/// Locks whatever a panicking thread left behind: all these values are whole at any time.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_loaded_is_tried_once() {
        let mut lazy: Lazy<()> = Lazy::NotYet;
        assert_eq!(lazy.get(|| Err("no")).unwrap_err(), "no");
        assert_eq!(lazy.get(|| Ok::<_, String>(())).unwrap_err(), "no");
        assert!(lazy.loaded().is_none());
    }
}
