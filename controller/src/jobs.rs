//! Jobs: plan → dispatch → results, one at a time.
//!
//! However a job ends (done, failed, its user gone, the controller told to stop), the agents'
//! runs of it are deleted before the next job may begin.

mod archive;
mod clock;
mod dispatch;
mod execute;
mod join;
mod ledger;
mod plan;
mod progress;
mod sides;

use std::{sync::Arc, time::Duration};

use nettoll_core::api::{Job, JobEvent, JobResult};
use tokio::{
    sync::{
        Mutex, OwnedMutexGuard,
        mpsc::{self, Receiver, Sender},
        watch,
    },
    time::{MissedTickBehavior, interval, timeout},
};

pub(crate) use self::archive::Archive;
use self::{execute::Execution, ledger::Ledger, plan::Plan, progress::Progress};
use crate::{
    agents::AgentError,
    directory::{Directory, DirectoryError, Known},
    metrics::Metrics,
};

/// Time between two lines of progress.
const TICK: Duration = Duration::from_millis(500);
/// How long a user has to take the result.
const DELIVERY: Duration = Duration::from_secs(30);
/// Lines on their way to the user.
const LINES: usize = 64;

/// Why a job was not begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitError {
    /// There is one already.
    #[error(
        "another job is running; two at once would disturb each other: wait for it, or end its command"
    )]
    Busy,
    /// It makes no sense.
    #[error(transparent)]
    Plan(#[from] plan::PlanError),
    /// See [`DirectoryError`].
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Why a job has no result.
#[derive(Debug, thiserror::Error)]
enum JobError {
    /// An agent does not answer, or refuses what every run needs.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// Plan and inventory contradict each other.
    #[error("the inventory lists no agent of node {0}")]
    NoAgent(String),
    /// The agent is not of this version.
    #[error(
        "agent of node {0}: it prepared a client and told no flow; are agent and controller of one version?"
    )]
    NoFlow(String),
    /// Every run was refused.
    #[error("nothing can be measured: {0}")]
    Nothing(String),
    /// A group that was planned has no rounds.
    #[error(transparent)]
    Plan(#[from] nettoll_core::plan::PlanError),
    /// The controller ends.
    #[error("the controller was told to stop; start it and ask again")]
    Stopped,
}

impl JobError {
    /// The same job would fail again.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Agent(error) => error.is_lasting(),
            Self::Plan(_) | Self::Nothing(_) => true,
            Self::NoAgent(_) | Self::NoFlow(_) | Self::Stopped => false,
        }
    }
}

/// What jobs need and leave.
pub(crate) struct Jobs {
    directory: Box<dyn Directory>,
    metrics: Arc<Metrics>,
    archive: Archive,
    /// Held by the job that runs.
    slot: Arc<Mutex<()>>,
    stop: watch::Sender<bool>,
}

impl Jobs {
    /// No job yet.
    pub(crate) fn new(directory: impl Directory + 'static, metrics: Arc<Metrics>) -> Self {
        Self {
            directory: Box::new(directory),
            metrics,
            archive: Archive::default(),
            slot: Arc::default(),
            stop: watch::Sender::new(false),
        }
    }

    /// The nodes, pods and agents of now.
    pub(crate) fn known(&self) -> Arc<Known> {
        self.directory.now()
    }

    /// The last runs.
    pub(crate) fn archive(&self) -> &Archive {
        &self.archive
    }

    /// What finished jobs left.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Begins a job with what is known now; dropping the receiver cancels it.
    pub(crate) async fn submit(
        self: Arc<Self>,
        job: Job,
    ) -> Result<Receiver<JobEvent>, SubmitError> {
        let known = self.directory.for_job(&job).await?;
        let plan = plan(&known, &job)?;
        let slot = Arc::clone(&self.slot)
            .try_lock_owned()
            .map_err(|_| SubmitError::Busy)?;
        Ok(self.begin(Ordered { job, plan, known }, slot))
    }

    /// Begins a job between endpoints that only its asker knows, as soon as no other one runs.
    pub(crate) async fn queue(
        self: Arc<Self>,
        job: Job,
        known: Arc<Known>,
    ) -> Result<Receiver<JobEvent>, SubmitError> {
        let plan = plan(&known, &job)?;
        let slot = Arc::clone(&self.slot).lock_owned().await;
        Ok(self.begin(Ordered { job, plan, known }, slot))
    }

    fn begin(self: Arc<Self>, order: Ordered, slot: OwnedMutexGuard<()>) -> Receiver<JobEvent> {
        let (events, receiver) = mpsc::channel(LINES);
        tokio::spawn(self.supervise(order, events, slot));
        receiver
    }

    /// Ends the job that runs and keeps others from beginning.
    pub(crate) async fn shut_down(&self) {
        self.stop.send_replace(true);
        // Not given back: the process ends.
        std::mem::forget(Arc::clone(&self.slot).lock_owned().await);
    }

    async fn supervise(
        self: Arc<Self>,
        order: Ordered,
        events: Sender<JobEvent>,
        slot: OwnedMutexGuard<()>,
    ) {
        let Ordered { job, plan, known } = order;
        let (progress, ledger) = (Progress::new(plan.extent), Ledger::default());
        let mut stop = self.stop.subscribe();
        let execution = Execution {
            agents: &known.agents,
            progress: &progress,
            ledger: &ledger,
            events: &events,
        };
        let outcome = tokio::select! {
            outcome = execution.execute(&job, &plan) => Some(outcome),
            _ = stop.wait_for(|&stop| stop) => Some(Err(JobError::Stopped)),
            () = events.closed() => None,
            never = tell(&progress, &events) => match never {},
        };
        ledger.delete_all(&known.agents).await;
        match &outcome {
            Some(Ok(result)) => self.record(result, &known),
            Some(Err(error)) => {
                tracing::warn!("job failed: {error}");
                self.record_failure(&plan, &known);
            }
            None => tracing::info!("job cancelled: its user is gone"),
        }
        drop(slot);
        let last = match outcome {
            Some(Ok(result)) => JobEvent::Done(Box::new(result)),
            Some(Err(error)) => JobEvent::Failed {
                message: error.to_string(),
                lasting: error.is_lasting(),
            },
            None => return,
        };
        if timeout(DELIVERY, events.send(last)).await.is_err() {
            tracing::warn!("nobody took the result in {DELIVERY:?}");
        }
    }

    fn record(&self, result: &JobResult, known: &Known) {
        self.archive.add(result);
        self.metrics
            .record(result, |endpoint| plan::node_of(&known.inventory, endpoint));
    }

    fn record_failure(&self, plan: &Plan, known: &Known) {
        for run in plan.runs() {
            let node = |endpoint: &_| plan::node_of(&known.inventory, endpoint);
            self.metrics.record_failure(&run.path, run.test, node);
        }
    }
}

/// A job that was planned, with what it was planned for.
struct Ordered {
    job: Job,
    plan: Plan,
    known: Arc<Known>,
}

fn plan(known: &Known, job: &Job) -> Result<Plan, SubmitError> {
    // Tells this job's runs from those of earlier ones that an agent may still hold.
    let nonce = execute::seed() as u32;
    Ok(Plan::new(&known.inventory, job, nonce)?)
}

/// Tells of the progress until dropped. A user who does not read misses lines.
async fn tell(progress: &Progress, events: &Sender<JobEvent>) -> std::convert::Infallible {
    let _ = events.try_send(progress.planned());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let _ = events.try_send(progress.event());
    }
}
