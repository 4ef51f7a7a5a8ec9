//! A job from its first request to the agents to its report.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nettoll_core::{
    api::{AgentInfo, Job, JobEvent, JobResult, ProbeMode, RoundSpec},
    hop::Direction,
    plan::{self, Blocks, PlannedRound},
    report::{Context, DeviceContext, Report, SCHEMA, TestType},
};
use tokio::{sync::mpsc::Sender, time::timeout};

use super::{
    JobError, clock,
    dispatch::{Hosts, LiveRun},
    join::Measured,
    ledger::Ledger,
    plan::{Plan, PlannedRun, RunGroup, Site},
    progress::{Extent, Progress},
    sides::MeasuredRound,
};
use crate::agents::Agents;

/// How long a user has to take a line that must not be lost.
const DELIVERY: Duration = Duration::from_secs(10);

/// What a job works with.
pub(super) struct Execution<'a> {
    pub(super) agents: &'a Arc<Agents>,
    pub(super) progress: &'a Progress,
    pub(super) ledger: &'a Ledger,
    pub(super) events: &'a Sender<JobEvent>,
}

/// What the agents of a job said of themselves, by node.
type Infos = BTreeMap<String, AgentInfo>;

impl Execution<'_> {
    /// Runs all groups, one after the other.
    pub(super) async fn execute(&self, job: &Job, plan: &Plan) -> Result<JobResult, JobError> {
        let started = SystemTime::now();
        for warning in &plan.warnings {
            self.warn(warning.clone()).await;
        }
        let mut infos = Infos::new();
        for node in plan.nodes() {
            let agent = self
                .agents
                .of(&node)
                .ok_or_else(|| JobError::NoAgent(node.clone()))?;
            infos.insert(node, agent.info().await?);
            // A job has its nodes alone, so what an agent still holds is a dead controller's.
            if let Err(error) = agent.delete_all().await {
                tracing::warn!("runs of an earlier controller may be in the way: {error}");
            }
        }
        let probe = self.usable(plan.probe, &infos).await;
        let mut groups = Vec::new();
        let mut extent = Extent::default();
        for group in &plan.groups {
            let group = self.measurable(group, &infos, job).await?;
            // Numbers are left for the spare rounds of the groups before.
            let first = extent.rounds * plan::MOST_PAIRS_TIMES;
            let blocks = group.blocks(probe, first, seed())?;
            extent += group.extent(&blocks);
            groups.push((group, blocks));
        }
        self.progress.begin(extent);
        let mut measured = Measured::default();
        for (group, blocks) in groups {
            measured.extend(self.run_group(&group, blocks, probe, &infos).await?);
        }
        let Measured {
            runs,
            tolls,
            stacks,
            settings,
        } = measured;
        let context = context(started, job, &infos, settings);
        let report = Report {
            schema: SCHEMA.to_owned(),
            context,
            runs,
            tolls,
        };
        Ok(JobResult { report, stacks })
    }

    /// The states of the probe that the rounds can have. Traffic is measured without it too.
    async fn usable(&self, wanted: ProbeMode, infos: &Infos) -> ProbeMode {
        if wanted == ProbeMode::Off {
            return wanted;
        }
        let mut usable = wanted;
        for (node, info) in infos {
            if let Some(reason) = &info.probe_unavailable {
                self.warn(format!(
                    "no stages, since node {node} has no probe: {reason}"
                ))
                .await;
                usable = ProbeMode::Off;
            }
            if let Some(reason) = &info.profile_unavailable {
                self.warn(format!("no stacks of node {node}: {reason}"))
                    .await;
            }
        }
        usable
    }

    /// The runs of a group that can be measured with these agents.
    async fn measurable(
        &self,
        group: &RunGroup,
        infos: &Infos,
        job: &Job,
    ) -> Result<RunGroup, JobError> {
        let possible = |run: &PlannedRun| run.test != TestType::PathCost || one_kernel(run, infos);
        let mut reasons = Vec::new();
        for run in group.runs.iter().filter(|run| !possible(run)) {
            let (from, to) = (&run.client.node, &run.server.node);
            reasons.push(format!(
                "{} of {} needs both ends on one kernel, since one thread has both sockets; \
                 nodes {from} and {to} are two machines",
                run.test,
                run.path.label()
            ));
        }
        let kept = group.kept(possible);
        // Of a single test the first run is what was asked for.
        let essential = match job {
            Job::Toll(_) => !kept.runs.is_empty(),
            Job::Test(_) => group.runs.first().is_some_and(possible),
        };
        if !essential {
            return Err(JobError::Nothing(reasons.join("; ")));
        }
        for reason in reasons {
            self.warn(reason).await;
        }
        Ok(kept)
    }

    /// Interleaves the runs of a group. Where rounds were disturbed, spare ones follow.
    async fn run_group(
        &self,
        group: &RunGroup,
        blocks: Blocks,
        probe: ProbeMode,
        infos: &Infos,
    ) -> Result<Measured, JobError> {
        let mut live = Vec::new();
        for run in &group.runs {
            self.tell(run, "preparing");
            let hosts = hosts(run, probe, infos);
            live.push(LiveRun::prepare(self.agents, run, hosts, self.ledger).await?);
        }
        let planned = group.pairs_of_rounds();
        for (pair, block) in (0..planned * plan::MOST_PAIRS_TIMES).zip(blocks) {
            if pair >= planned {
                if !plan::lacks_pairs(&settled(&live), planned) {
                    break;
                }
                self.progress.add(group.extent_of(&block));
            }
            for round in &block {
                if let Some(run) = live.get_mut(round.run) {
                    self.run_round(run, round).await?;
                }
            }
        }
        let mut measured = Measured::default();
        for mut run in live {
            self.tell(run.plan, "reading");
            if let Some(told) = run.calibrate().await {
                self.warn(told).await;
            }
            let finished = run.finish().await?;
            self.progress.run_read();
            let context = |site: &Site| infos.get(&site.node).map(|info| &info.context);
            if let (Some(client), Some(server)) =
                (context(&run.plan.client), context(&run.plan.server))
            {
                measured.add(&run, finished, client, server);
            }
        }
        self.ledger.delete_all(self.agents).await;
        for told in measured.compare(&group.pairs) {
            self.warn(format!("no toll: {told}")).await;
        }
        Ok(measured)
    }

    /// Runs one round, unless its run is broken.
    async fn run_round(&self, run: &mut LiveRun<'_>, round: &PlannedRound) -> Result<(), JobError> {
        let &PlannedRound {
            run: _,
            pair,
            sequence,
            probe,
            seconds,
        } = round;
        let traffic = run.plan.traffic_seconds(seconds);
        if run.broken.is_some() {
            self.progress.leave_out(traffic);
            return Ok(());
        }
        let with = if probe { ", with the probe" } else { "" };
        let pairs = run.plan.options.rounds;
        let which = if pair < pairs {
            format!("pair {} of {pairs}{with}:", pair + 1)
        } else {
            format!("spare pair {}{with}:", pair - pairs + 1)
        };
        self.tell(run.plan, &which);
        let spec = RoundSpec {
            pair,
            sequence,
            probe,
            calibrate: None,
            seconds,
        };
        if let Some(told) = run.round(&spec).await? {
            self.warn(told).await;
        }
        self.progress.round_done(traffic);
        Ok(())
    }

    /// Sets what the next lines of progress say.
    fn tell(&self, run: &PlannedRun, doing: &str) {
        self.progress
            .label(format!("{}: {doing} {}", run.test, run.path.label()));
    }

    /// Tells the user something. One who does not read for long misses it.
    async fn warn(&self, message: String) {
        tracing::warn!("{message}");
        let _ = timeout(DELIVERY, self.events.send(JobEvent::Warning { message })).await;
    }
}

/// Of each run that is not broken, the pair and the state of the probe of the rounds that need no
/// other in their place.
fn settled(live: &[LiveRun<'_>]) -> Vec<BTreeSet<(u32, bool)>> {
    let undisturbed = |round: &&MeasuredRound| match &round.outcome {
        Ok(sides) => sides.disturbance().is_none(),
        // It was tried again.
        Err(_) => false,
    };
    let key = |round: &MeasuredRound| (round.spec.pair, round.spec.probe);
    live.iter()
        .filter(|run| run.broken.is_none())
        .map(|run| run.rounds.iter().filter(undisturbed).map(key).collect())
        .collect()
}

/// Both nodes of a run are one kernel, the lab's case.
fn one_kernel(run: &PlannedRun, infos: &Infos) -> bool {
    let boot = |node| {
        infos
            .get(node)
            .map(|info: &AgentInfo| &info.context.boot_id)
    };
    run.one_node() || boot(&run.client.node) == boot(&run.server.node)
}

/// Stacks are sampled in rounds with the probe, by one agent a kernel.
fn hosts(run: &PlannedRun, probe: ProbeMode, infos: &Infos) -> Hosts {
    let one_kernel = one_kernel(run, infos);
    // A second agent's programs would be in every CPU figure of a stream, and in its exact self
    // times. A request waits for wake-ups that cost a hundred times as much.
    let one_counts_both = one_kernel && run.test.is_stream() && probe != ProbeMode::Client;
    // The sender's own stamps begin each packet's way.
    let server_counts_both =
        one_counts_both && !run.one_node() && run.test.payload() == Direction::Response;
    let wanted = run.options.sample_hz > 0 && probe != ProbeMode::Off;
    let sample = |site: &Site| {
        wanted
            && infos
                .get(&site.node)
                .is_some_and(|info| info.profile_unavailable.is_none())
    };
    Hosts {
        one_kernel,
        sample_client: !server_counts_both && sample(&run.client),
        sample_server: (!one_kernel || server_counts_both) && sample(&run.server),
        probe_client: !server_counts_both,
        probe_server: probe != ProbeMode::Client && (!one_counts_both || server_counts_both),
        one_counts_both,
    }
}

/// `settings`: of devices that the agents' own contexts do not have, by node.
fn context(
    started: SystemTime,
    job: &Job,
    infos: &Infos,
    settings: Vec<(String, DeviceContext)>,
) -> Context {
    let job = serde_json::to_string(job).unwrap_or_default();
    let mut nodes: Vec<_> = infos.values().map(|info| info.context.clone()).collect();
    for (node, device) in settings {
        let place = (&device.place, &device.name);
        // Runs have pods in common.
        if let Some(context) = nodes.iter_mut().find(|context| context.node == node)
            && !(context.devices.iter()).any(|known| (&known.place, &known.name) == place)
        {
            context.devices.push(device);
        }
    }
    Context {
        nettoll_version: env!("CARGO_PKG_VERSION").to_owned(),
        started: clock::rfc3339(started),
        command: ["POST", "/api/v1/jobs"]
            .map(str::to_owned)
            .into_iter()
            .chain([job])
            .collect(),
        nodes,
    }
}

/// Another order of rounds in each job.
pub(super) fn seed() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.as_nanos() as u64
}
