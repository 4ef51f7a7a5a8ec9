//! The runs of this agent: from a specification to a [`RunSide`], one round at a time.
//!
//! Several runs can be prepared at once, so that rounds of compared paths alternate, but only
//! one round is open at any time: the probe is attached or not for all of them. A run holds its
//! sockets from `prepare` to `delete`; the probe and the profiler are loaded when the first
//! round wants them.
//!
//! All methods block for as long as what they do takes, at most some seconds more than a round;
//! call them from a thread that may. [`Runs::delete`] ends what others wait for.

mod counters;
mod error;
mod gather;
mod instruments;
mod prepare;
mod run;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use nettoll_core::{
    api::{Calibrate, Flow, FlowTuple, RUN_IDLE_SECONDS, RoundSide, RoundSpec, RunSide},
    endpoint::Endpoint,
    stacks::{Of, StackTotals},
};

pub(crate) use self::{error::RunError, watch::Watch};
use self::{
    instruments::{Instruments, lock},
    run::{Phase, Run, Traffic},
};
use crate::{
    metrics::Totals,
    path::conntrack,
    probe::{Found, Settings},
};

/// Most runs at once: each holds sockets and threads.
const MAX_RUNS: usize = 64;
/// Longest round.
const MAX_ROUND_SECONDS: f64 = 3_600.0;

/// The runs.
#[derive(Debug)]
pub(crate) struct Runs {
    node: String,
    places: BTreeMap<Endpoint, String>,
    runs: Mutex<BTreeMap<String, Arc<Run>>>,
    /// How many were prepared since the agent began.
    prepared: AtomicU64,
    /// The run whose round is open. Held while a round is opened or closed.
    open: Mutex<Option<String>>,
    instruments: Arc<Instruments>,
    /// Of the runs that are forgotten. Held while one is being forgotten.
    past: Mutex<Totals>,
    /// Of the runs that are finished.
    stacks: Mutex<Arc<StackTotals>>,
}

impl Runs {
    /// No runs yet. `places` names the network namespace (under `/run/netns`) of each endpoint
    /// of this node; the node itself is in the agent's own. `settings` are those of the probe.
    pub(crate) fn new(
        node: String,
        places: BTreeMap<Endpoint, String>,
        settings: Settings,
    ) -> Self {
        Self {
            node,
            places,
            runs: Mutex::default(),
            prepared: AtomicU64::new(0),
            open: Mutex::default(),
            instruments: Arc::new(Instruments::new(settings)),
            past: Mutex::default(),
            stacks: Mutex::default(),
        }
    }

    /// Measures without probe and profiler from now on; `why` is what is said where they are
    /// asked for.
    pub(crate) fn without_probe(&self, why: &str) {
        self.instruments.switch_off(why);
    }

    /// Tells the server whose flow it serves: the flow as the server has it.
    pub(crate) fn flow(&self, id: &str, at_client: FlowTuple) -> Result<FlowTuple, RunError> {
        let run = self.find(id)?;
        let _visit = run.visit();
        let mut traffic = lock(&run.traffic);
        if let Some(known) = traffic.flow {
            return if known.at_client == at_client {
                Ok(known.at_server)
            } else {
                Err(RunError::Flow)
            };
        }
        let Traffic {
            phase,
            server: Some(server),
            flow: known,
            ..
        } = &mut *traffic
        else {
            return Err(run.not_mine("serve a flow"));
        };
        let at_server = server.serve(&at_client)?;
        let flow = Flow {
            at_server,
            ..at_client.into()
        };
        *known = Some(between(flow, &at_server));
        *phase = Phase::Ready;
        Ok(at_server)
    }

    /// Connects the client and warms the connection up. `at_server` is the flow as a server on another
    /// agent has it.
    pub(crate) fn start(&self, id: &str, at_server: Option<FlowTuple>) -> Result<(), RunError> {
        let run = self.find(id)?;
        let _visit = run.visit();
        let mut traffic = lock(&run.traffic);
        if traffic.phase != Phase::Prepared {
            return Err(run.refuse(&traffic, "start"));
        }
        traffic
            .client
            .as_mut()
            .ok_or_else(|| run.not_mine("start"))?
            .start()?;
        if let (Some(flow), Some(at_server)) = (&mut traffic.flow, at_server) {
            flow.at_server = at_server;
            *flow = between(*flow, &flow.at_client);
        }
        traffic.phase = Phase::Ready;
        Ok(())
    }

    /// A round's first mark.
    pub(crate) fn begin(&self, id: &str, round: RoundSpec) -> Result<(), RunError> {
        if !(round.seconds > 0.0 && round.seconds <= MAX_ROUND_SECONDS) {
            return Err(RunError::RoundLength(round.seconds));
        }
        let run = self.find(id)?;
        let _visit = run.visit();
        let mut traffic = lock(&run.traffic);
        if traffic.phase != Phase::Ready {
            return Err(run.refuse(&traffic, "begin a round"));
        }
        if round.calibrate.is_some() && !round.probe {
            return Err(RunError::NothingToCalibrate);
        }
        let sealed = lock(&run.observation).sealed.is_some();
        if sealed && round.calibrate.is_none() {
            return Err(run.refuse(&traffic, "begin a round after its calibration"));
        }
        let mut open = lock(&self.open);
        if let Some(other) = &*open {
            return Err(RunError::Busy(other.clone()));
        }
        let (mut stamps, mut sample) = (None, None);
        if round.calibrate == Some(Calibrate::Seams) {
            self.instruments.begin_seams(&mut lock(&run.observation))?;
        } else if round.probe {
            let mut observation = lock(&run.observation);
            if run.spec.sample && round.calibrate.is_none() {
                let hz = run.spec.options.sample_hz;
                sample = Some(self.instruments.sample(&mut observation, hz)?);
            }
            let flow = traffic.flow.ok_or(RunError::NoFlow)?;
            let begun = self.instruments.begin(&mut observation, &flow, &run.spec)?;
            if round.calibrate.is_some() {
                // From here on nothing is added to what the run measured.
                if observation.sealed.is_none() {
                    observation.sealed = Some(RunSide {
                        tcp: traffic.tcp(),
                        ..self.measured(&run, &observation)
                    });
                }
                self.instruments.calibrate(&mut observation)?;
            }
            stamps = Some(begun);
        } else {
            self.instruments.detach();
        }
        traffic.begin(stamps, sample);
        traffic.phase = Phase::Open(round);
        *open = Some(id.to_owned());
        Ok(())
    }

    /// The round's traffic.
    pub(crate) fn run(&self, id: &str, round: RoundSpec) -> Result<RoundSide, RunError> {
        let run = self.find(id)?;
        let _visit = run.visit();
        let mut traffic = lock(&run.traffic);
        match &traffic.phase {
            Phase::Open(begun) if *begun == round => {}
            Phase::Open(_) => return Err(run.refuse(&traffic, "run another round than began")),
            _ => return Err(run.refuse(&traffic, "run a round that has not begun")),
        }
        let client = traffic
            .client
            .as_mut()
            .ok_or_else(|| run.not_mine("run a round"))?;
        let number = round.calibrate.is_none().then_some(round.sequence);
        let side = client.run(number, Duration::from_secs_f64(round.seconds))?;
        traffic.phase = Phase::Ran(Box::new(side.clone()));
        Ok(side)
    }

    /// The round's last mark. Where the client is on this agent the answer is that of
    /// [`Self::run`] again, else it is the server's.
    pub(crate) fn end(&self, id: &str) -> Result<RoundSide, RunError> {
        let run = self.find(id)?;
        let _visit = run.visit();
        let mut traffic = lock(&run.traffic);
        let ran = match &mut traffic.phase {
            Phase::Open(_) => None,
            Phase::Ran(side) => Some(std::mem::take(&mut **side)),
            _ => return Err(run.refuse(&traffic, "end a round")),
        };
        let mut open = lock(&self.open);
        let side = traffic.end(ran);
        traffic.phase = Phase::Ready;
        *open = None;
        self.instruments.end(&mut lock(&run.observation))?;
        Ok(side)
    }

    /// What the run's rounds with the probe gave.
    pub(crate) fn finish(&self, id: &str) -> Result<RunSide, RunError> {
        let run = self.find(id)?;
        let _visit = run.visit();
        let mut traffic = lock(&run.traffic);
        if traffic.phase != Phase::Ready {
            return Err(run.refuse(&traffic, "finish"));
        }
        let open = lock(&self.open);
        if let Some(other) = &*open {
            return Err(RunError::Busy(other.clone()));
        }
        let mut observation = lock(&run.observation);
        let mut side = match &observation.sealed {
            Some(sealed) => sealed.clone(),
            None => RunSide {
                tcp: traffic.tcp(),
                http: traffic.http(),
                ..self.measured(&run, &observation)
            },
        };
        (side.programs, side.lost) = self.instruments.counters(&observation, &self.node);
        side.seam_ns = observation.seams.mean_ns();
        // The server is told of the last round's last request in the one that calibrates.
        side.exemplars = self.instruments.exemplars(&run.slowest);
        side.stacks = self.instruments.stacks(&mut observation)?;
        if let Some(stacks) = &side.stacks {
            let of = Of::run(&run.spec.path, run.spec.test);
            Arc::make_mut(&mut lock(&self.stacks)).add(of, stacks);
        }
        traffic.phase = Phase::Finished;
        Ok(side)
    }

    /// Ends the run in whatever state it is and frees all that it holds.
    pub(crate) fn delete(&self, id: &str) -> Result<(), RunError> {
        // It is in the totals until it is forgotten, and then in those of the past.
        let run = lock(&self.runs)
            .get(id)
            .cloned()
            .ok_or_else(|| RunError::Unknown(id.to_owned()))?;
        run.stop.stop();
        // A round that runs ends at once now, and then its thread leaves the lock.
        let mut traffic = lock(&run.traffic);
        if traffic.phase == Phase::Deleted {
            return Err(RunError::Unknown(id.to_owned()));
        }
        let mut open = lock(&self.open);
        if open.as_deref() == Some(id) {
            traffic.end(None);
            *open = None;
        }
        traffic.phase = Phase::Deleted;
        // Joins their threads, closes their sockets.
        traffic.client = None;
        traffic.server = None;
        self.forget(&run);
        if lock(&self.runs).is_empty() {
            self.instruments.detach();
        }
        Ok(())
    }

    /// Deletes all runs: the agent ends. Rounds that run return soon.
    pub(crate) fn delete_all(&self) {
        self.delete_where(|_| true);
    }

    /// Deletes the runs that nobody has spoken of for [`RUN_IDLE_SECONDS`]; call it every few
    /// seconds.
    pub(crate) fn reap(&self) {
        self.delete_where(|run| {
            let idle = run.idle_for(Duration::from_secs(RUN_IDLE_SECONDS));
            if idle {
                tracing::warn!(
                    run = run.spec.id,
                    "nobody speaks of the run any more; it ends"
                );
            }
            idle
        });
    }

    fn delete_where(&self, condition: impl Fn(&Run) -> bool) {
        let ids: Vec<String> = {
            let runs = lock(&self.runs);
            runs.iter()
                .filter(|(_, run)| condition(run))
                .map(|(id, _)| id.clone())
                .collect()
        };
        for id in ids {
            // Somebody else may have deleted it since.
            let _ = self.delete(&id);
        }
    }

    /// What was sampled in the runs that are finished.
    pub(crate) fn stacks(&self) -> Arc<StackTotals> {
        lock(&self.stacks).clone()
    }

    /// How many runs were prepared since the agent began.
    pub(crate) fn prepared(&self) -> u64 {
        self.prepared.load(Relaxed)
    }

    /// What became of the probe's hooks; `None` where it is not loaded.
    pub(crate) fn hooks(&self) -> Option<Found> {
        self.instruments.found()
    }

    /// Why runs have no probe, `None` where they can have one.
    pub(crate) fn probe_unavailable(&self) -> Option<String> {
        self.instruments.probe_unavailable()
    }

    /// Why runs have no samples, `None` where they can have them.
    pub(crate) fn profile_unavailable(&self) -> Option<String> {
        self.instruments.profile_unavailable()
    }

    fn find(&self, id: &str) -> Result<Arc<Run>, RunError> {
        lock(&self.runs)
            .get(id)
            .cloned()
            .ok_or_else(|| RunError::Unknown(id.to_owned()))
    }
}

/// The flow with what this node makes of its tuple `here`, where that is the other end's no more than
/// its own: then the other node translates too.
fn between(flow: Flow, here: &FlowTuple) -> Flow {
    if flow.at_client == flow.at_server {
        return flow;
    }
    let sides = conntrack::both_sides(here).unwrap_or_else(|error| {
        tracing::debug!(%error, "the kernel does not tell how it translates");
        None
    });
    let mut sides = sides.into_iter().flatten();
    let between = sides.find(|side| *side != flow.at_client && *side != flow.at_server);
    Flow { between, ..flow }
}
