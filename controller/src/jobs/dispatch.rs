//! One run at its agents: prepare, rounds, finish, in the order of [`nettoll_core::api`].

use std::collections::BTreeSet;

use nettoll_core::{
    api::{Calibrate, Place, Resolved, Role, RoundSide, RoundSpec, RunSpec},
    device::Device,
    report::{DeviceContext, TestType},
};

use super::{
    JobError,
    ledger::Ledger,
    plan::{PlannedRun, Site},
    resolve,
    sides::{FinishedRun, MeasuredRound, Sides},
};
use crate::agents::{Agent, AgentError, Agents, Fault};

/// How often a round is tried.
const ATTEMPTS: u32 = 2;
/// Some thousand runs of each program, of some ten ns each.
const CALIBRATION_SECONDS: f64 = 0.2;
/// One after each round with the probe, some thousand seams.
const SEAMS_SECONDS: f64 = 0.05;

/// What is known of the machines of a run's two nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hosts {
    /// They are one.
    pub(super) one_kernel: bool,
    /// The client's agent samples stacks.
    pub(super) sample_client: bool,
    /// The server's does: never both on the same kernel.
    pub(super) sample_server: bool,
    /// The client's agent attaches the probe in rounds with it.
    pub(super) probe_client: bool,
    /// The server's does.
    pub(super) probe_server: bool,
    /// The one that does counts the hops of both nodes.
    pub(super) one_counts_both: bool,
}

/// A run that its agents hold.
pub(super) struct LiveRun<'a> {
    pub(super) plan: &'a PlannedRun,
    /// Both nodes are one kernel: one agent samples for both.
    pub(super) one_kernel: bool,
    probe_client: bool,
    probe_server: bool,
    client: &'a Agent,
    /// `None` where the client's agent has both sockets.
    server: Option<&'a Agent>,
    /// Of both nodes.
    pub(super) devices: Vec<Device>,
    /// How those of pods are set that their agents tell of only when asked, by node.
    pub(super) settings: Vec<(&'a str, DeviceContext)>,
    /// Inodes of the client's and the server's network namespace.
    pub(super) netns: [u32; 2],
    pub(super) rounds: Vec<MeasuredRound>,
    /// Why no more rounds are tried.
    pub(super) broken: Option<String>,
    /// Rounds with the probe are followed by a slice that measures its seams.
    seams: bool,
}

impl<'a> LiveRun<'a> {
    /// Resolves both ends, opens the sockets, and connects.
    pub(super) async fn prepare(
        agents: &'a Agents,
        plan: &'a PlannedRun,
        hosts: Hosts,
        ledger: &Ledger,
    ) -> Result<Self, JobError> {
        let client = agent(agents, &plan.client)?;
        let far = agent(agents, &plan.server)?;
        let (from, to) = (&plan.client, &plan.server);
        let [at_client, at_server] = resolve::requests(plan);
        let client_resolved = client.resolve(&at_client).await?;
        let server_resolved = far.resolve(&at_server).await?;
        let settings = [(from, &client_resolved), (to, &server_resolved)];
        let settings = settings.into_iter().flat_map(|(site, resolved)| {
            let of_site = move |one: &DeviceContext| (site.node.as_str(), one.clone());
            resolved.settings.iter().map(of_site)
        });
        let settings = settings.collect();
        let place = |site: &Site, resolved: &Resolved| Place {
            endpoint: site.endpoint.clone(),
            pod_uid: site.pod_uid.clone(),
            netns: resolved.netns,
            address: site.address,
        };
        let spec = RunSpec {
            id: plan.id.clone(),
            path: plan.path.clone(),
            test: plan.test,
            options: plan.options.clone(),
            role: Role::Both,
            client: place(from, &client_resolved),
            server: place(to, &server_resolved),
            port: plan.port,
            service: plan.service.map(|service| service.address),
            devices: resolve::merged(client_resolved.devices, server_resolved.devices),
            count_nodes: BTreeSet::from([&from.node, &to.node])
                .into_iter()
                .cloned()
                .collect(),
            sample: hosts.sample_client,
        };
        let one_agent = plan.one_node() || plan.test == TestType::PathCost;
        let live = Self {
            plan,
            one_kernel: hosts.one_kernel,
            probe_client: hosts.probe_client,
            probe_server: hosts.probe_server,
            client,
            server: (!one_agent).then_some(far),
            devices: spec.devices.clone(),
            settings,
            netns: [spec.client.netns, spec.server.netns],
            rounds: Vec::new(),
            broken: None,
            // Only tunnels' self times are freed from seams, and `path_cost` measures none.
            seams: plan.test != TestType::PathCost
                && spec.devices.iter().any(|device| device.kind.is_tunnel()),
        };
        live.open(spec, hosts, ledger).await?;
        Ok(live)
    }

    async fn open(&self, spec: RunSpec, hosts: Hosts, ledger: &Ledger) -> Result<(), JobError> {
        let id = &self.plan.id;
        ledger.note(self.client.node(), id);
        let Some(server) = self.server else {
            self.client.prepare(&spec).await?;
            return Ok(self.client.start(id, None).await?);
        };
        ledger.note(server.node(), id);
        let part = |role, site: &Site, sample| RunSpec {
            role,
            count_nodes: vec![site.node.clone()],
            sample,
            ..spec.clone()
        };
        let mut of_server = part(Role::Server, &self.plan.server, hosts.sample_server);
        let mut of_client = part(Role::Client, &self.plan.client, hosts.sample_client);
        if hosts.one_counts_both {
            let counting = match hosts.probe_client {
                true => &mut of_client,
                false => &mut of_server,
            };
            counting.count_nodes.clone_from(&spec.count_nodes);
        }
        server.prepare(&of_server).await?;
        let flow = self.client.prepare(&of_client).await?.flow;
        let flow = flow.ok_or_else(|| JobError::NoFlow(self.client.node().to_owned()))?;
        let at_server = server.flow(id, &flow).await?;
        Ok(self.client.start(id, Some(at_server)).await?)
    }

    /// Runs a round; where it fails, once more. A run whose round failed twice is broken; an
    /// agent that does not answer any more ends the job.
    ///
    /// Answers what went wrong on the way, in words.
    pub(super) async fn round(&mut self, spec: &RoundSpec) -> Result<Option<String>, JobError> {
        let mut told = None;
        for attempt in 1..=ATTEMPTS {
            let error = match self.try_round(spec).await {
                Ok(sides) => {
                    self.rounds.push(MeasuredRound {
                        spec: spec.clone(),
                        outcome: Ok(sides),
                    });
                    return Ok(told.or(self.measure_seams(spec).await));
                }
                Err(error) => error,
            };
            self.recover().await?;
            let what = format!("round {} of {} failed: {error}", spec.pair, self.plan.id);
            let outcome = Err(error.to_string());
            self.rounds.push(MeasuredRound {
                spec: spec.clone(),
                outcome,
            });
            if attempt == ATTEMPTS {
                self.broken = Some(format!("a round failed {ATTEMPTS} times: {error}"));
            }
            told = Some(what);
        }
        Ok(told)
    }

    /// A slice after a round with the probe that tells what a seam takes at that time. Without
    /// it the run lacks the figures that are freed from seams, so a failure is only told, once.
    async fn measure_seams(&mut self, round: &RoundSpec) -> Option<String> {
        if !(self.seams && round.probe) {
            return None;
        }
        let spec = RoundSpec {
            calibrate: Some(Calibrate::Seams),
            seconds: SEAMS_SECONDS,
            ..round.clone()
        };
        let error = self.try_round(&spec).await.err()?;
        self.seams = false;
        // Where an agent is gone, the next round says so.
        let _ = self.recover().await;
        Some(format!(
            "the seams between the probe's programs on {} were not measured: {error}",
            self.plan.id
        ))
    }

    /// A slice that tells what the probe's programs cost; nothing else of it is kept. Without it
    /// the run lacks these figures alone, so a failure is only told.
    pub(super) async fn calibrate(&self) -> Option<String> {
        let probed = self.rounds.iter().rev().find(|round| round.spec.probe);
        let last = probed.filter(|_| self.broken.is_none())?;
        let spec = RoundSpec {
            probe: true,
            calibrate: Some(Calibrate::RunTimes),
            seconds: CALIBRATION_SECONDS,
            ..last.spec.clone()
        };
        let error = self.try_round(&spec).await.err()?;
        // Where an agent is gone, finishing says so.
        let _ = self.recover().await;
        Some(format!(
            "the probe's programs on {} were not calibrated: {error}",
            self.plan.id
        ))
    }

    async fn try_round(&self, spec: &RoundSpec) -> Result<Sides, AgentError> {
        let id = &self.plan.id;
        let part = |probe: bool| RoundSpec {
            probe: spec.probe && probe,
            calibrate: spec.calibrate.filter(|_| probe),
            ..spec.clone()
        };
        if let Some(server) = self.server {
            server.begin(id, &part(self.probe_server)).await?;
        }
        let of_client = &part(self.probe_client);
        self.client.begin(id, of_client).await?;
        let traffic = self.client.run(id, of_client, &self.plan.options).await?;
        let server = match self.server {
            Some(server) => Some(server.end(id).await?),
            None => None,
        };
        let marks = self.client.end(id).await?;
        Ok(Sides::of(with_marks(traffic, marks), server))
    }

    /// After a failed round: its last marks are set, so that another can begin.
    async fn recover(&self) -> Result<(), JobError> {
        for agent in [Some(self.client), self.server].into_iter().flatten() {
            agent.info().await?;
            // Refused where the round had not begun there: then nothing is to be ended.
            if let Err(error) = agent.end(&self.plan.id).await {
                tracing::debug!("after a failed round: {error}");
            }
        }
        Ok(())
    }

    /// Ends the run and takes what was counted; `None` where an agent has it no more, which
    /// then is the reason why the run is broken.
    pub(super) async fn finish(&mut self) -> Result<Option<FinishedRun>, AgentError> {
        match self.try_finish().await {
            Err(AgentError {
                fault: Fault::Refused { error, .. },
                node,
                ..
            }) => {
                self.broken
                    .get_or_insert(format!("node {node} has no result: {error}"));
                Ok(None)
            }
            finished => finished.map(Some),
        }
    }

    async fn try_finish(&self) -> Result<FinishedRun, AgentError> {
        let id = &self.plan.id;
        let server = match self.server {
            Some(server) => Some(server.finish(id).await?),
            None => None,
        };
        Ok(FinishedRun {
            client: self.client.finish(id).await?,
            server,
        })
    }
}

fn agent<'a>(agents: &'a Agents, site: &Site) -> Result<&'a Agent, JobError> {
    agents
        .of(&site.node)
        .map(AsRef::as_ref)
        .ok_or_else(|| JobError::NoAgent(site.node.clone()))
}

/// The client's round: its traffic, and what only the marks around it tell.
fn with_marks(traffic: RoundSide, marks: RoundSide) -> RoundSide {
    RoundSide {
        cpu_busy_seconds: traffic.cpu_busy_seconds.or(marks.cpu_busy_seconds),
        cpu_tasks_seconds: traffic.cpu_tasks_seconds.or(marks.cpu_tasks_seconds),
        cpu_own_seconds: traffic.cpu_own_seconds.or(marks.cpu_own_seconds),
        cpu_steal_seconds: traffic.cpu_steal_seconds.or(marks.cpu_steal_seconds),
        invalid_reason: traffic.invalid_reason.or(marks.invalid_reason),
        disturbed: traffic.disturbed.or(marks.disturbed),
        arrived: traffic.arrived.or(marks.arrived),
        ..traffic
    }
}
