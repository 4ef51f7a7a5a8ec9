//! Jobs: plan → dispatch → results, never two on one node.
//!
//! However a job ends (done, failed, its user gone, the controller told to stop), the agents'
//! runs of it are deleted before its nodes are free for the next job.

mod archive;
mod brief;
mod clock;
mod dispatch;
mod execute;
mod join;
mod ledger;
mod nodes;
mod plan;
mod progress;
mod resolve;
mod sides;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use nettoll_core::api::{Job, JobEvent, JobResult};
use tokio::{
    sync::{
        mpsc::{self, Receiver, Sender},
        watch,
    },
    time::{MissedTickBehavior, interval, timeout},
};

pub(crate) use self::{archive::Archive, brief::brief, nodes::Hold};
use self::{execute::Execution, ledger::Ledger, nodes::Nodes, plan::Plan, progress::Progress};
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
    /// A node of its has another one.
    #[error(
        "node {0} is busy with another job, and two at once would disturb each other: wait for that \
         one, or end its command"
    )]
    Busy(String),
    /// Its endpoints are not where they were when its nodes were taken.
    #[error("the endpoints have moved to node {0} meanwhile; ask again")]
    Moved(String),
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
    /// Those of running jobs are held.
    nodes: Arc<Nodes>,
    stop: watch::Sender<bool>,
}

impl Jobs {
    /// No job yet.
    pub(crate) fn new(directory: impl Directory + 'static, metrics: Arc<Metrics>) -> Self {
        Self {
            directory: Box::new(directory),
            metrics,
            archive: Archive::default(),
            nodes: Arc::default(),
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
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Begins a job with what is known now, unless one of its nodes has another one; dropping the
    /// receiver cancels it.
    pub(crate) async fn submit(
        self: Arc<Self>,
        job: Job,
    ) -> Result<Receiver<JobEvent>, SubmitError> {
        let known = self.directory.for_job(&job).await?;
        let plan = plan(&known, &job)?;
        let hold = self.reserve_now(plan.nodes())?;
        Ok(self.begin(Ordered { job, plan, known }, hold))
    }

    /// Has these nodes now, if all are free and nobody waits for one of them.
    pub(crate) fn reserve_now(&self, nodes: BTreeSet<String>) -> Result<Arc<Hold>, SubmitError> {
        let taken = self.nodes.take(nodes);
        taken.map(Arc::new).map_err(SubmitError::Busy)
    }

    /// Waits for the turn of `asker` to have these nodes.
    pub(crate) async fn reserve(&self, asker: &str, nodes: BTreeSet<String>) -> Arc<Hold> {
        Arc::new(self.nodes.wait(asker, nodes).await)
    }

    /// Begins a job on nodes that were reserved for it, between endpoints that only its asker
    /// knows.
    pub(crate) fn submit_on(
        self: Arc<Self>,
        hold: &Arc<Hold>,
        job: Job,
        known: Arc<Known>,
    ) -> Result<Receiver<JobEvent>, SubmitError> {
        let plan = plan(&known, &job)?;
        if let Some(node) = plan.nodes().into_iter().find(|node| !hold.covers(node)) {
            return Err(SubmitError::Moved(node));
        }
        Ok(self.begin(Ordered { job, plan, known }, Arc::clone(hold)))
    }

    fn begin(self: Arc<Self>, order: Ordered, hold: Arc<Hold>) -> Receiver<JobEvent> {
        let (events, receiver) = mpsc::channel(LINES);
        tokio::spawn(self.supervise(order, events, hold));
        receiver
    }

    /// Ends the jobs that run and keeps others from beginning.
    pub(crate) async fn shut_down(&self) {
        self.stop.send_replace(true);
        self.nodes.idle().await;
    }

    async fn supervise(self: Arc<Self>, order: Ordered, events: Sender<JobEvent>, hold: Arc<Hold>) {
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
            biased;
            _ = stop.wait_for(|&stop| stop) => Some(Err(JobError::Stopped)),
            never = tell(&progress, &events) => match never {},
            outcome = execution.execute(&job, &plan) => Some(outcome),
            () = events.closed() => None,
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
        drop(hold);
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
