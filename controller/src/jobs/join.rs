//! What both sides measured → one entry of the report. Pure: no agent is asked here.

mod cpu;
mod rounds;
mod samples;
mod validity;

use std::collections::BTreeMap;

use nettoll_core::{
    api::{RoundSide, RunSide, Stacks},
    device::Device,
    endpoint::PathKind,
    report::{
        Cpu, DeviceContext, Exemplar, MissingHook, NodeContext, Probe, ProbeCost, Run, TestType,
        Toll,
    },
    stage::{self, End, Journey, Messages, Waterfall},
    toll::{self, Tolls},
};

use self::cpu::Amounts;
use super::{
    dispatch::LiveRun,
    plan::{PlannedRun, Site},
    sides::{FinishedRun, MeasuredRound, Sides},
};

/// What a job has measured so far.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) runs: Vec<Run>,
    pub(super) tolls: Vec<Toll>,
    /// By run id.
    pub(super) stacks: BTreeMap<String, Stacks>,
    /// How the devices of pods are set that no agent's own context has, by node.
    pub(super) settings: Vec<(String, DeviceContext)>,
}

impl Measured {
    /// Adds what another group gave.
    pub(super) fn extend(&mut self, other: Self) {
        self.runs.extend(other.runs);
        self.tolls.extend(other.tolls);
        self.stacks.extend(other.stacks);
        self.settings.extend(other.settings);
    }

    /// Adds a run with its stacks.
    pub(super) fn add(
        &mut self,
        live: &LiveRun<'_>,
        finished: Option<FinishedRun>,
        client: &NodeContext,
        server: &NodeContext,
    ) {
        self.runs.push(join(&Inputs {
            plan: live.plan,
            one_kernel: live.one_kernel,
            client,
            server,
            devices: &live.devices,
            netns: live.netns,
            rounds: &live.rounds,
            finished: finished.as_ref(),
            broken: live.broken.as_deref(),
        }));
        for (node, device) in &live.settings {
            self.settings.push(((*node).to_owned(), device.clone()));
        }
        if let Some(stacks) = finished.as_ref().and_then(samples::all) {
            self.stacks.insert(live.plan.id.clone(), stacks);
        }
    }

    /// Adds the tolls of a group's runs: of each pair (path, baseline). Answers what could not be
    /// compared, in words. Invalid runs are not.
    pub(super) fn compare(&mut self, pairs: &[(usize, usize)]) -> Vec<String> {
        let mut told = Vec::new();
        for &(path, baseline) in pairs {
            let (Some(path), Some(baseline)) = (self.runs.get(path), self.runs.get(baseline))
            else {
                continue;
            };
            if let Some(invalid) = [path, baseline].into_iter().find(|run| !run.valid) {
                let (path, baseline) = (path.path.label(), baseline.path.label());
                let (test, id) = (invalid.test, &invalid.id);
                told.push(format!(
                    "{path} against {baseline}, {test}: {id} is invalid"
                ));
                continue;
            }
            let Tolls { tolls, missing } = toll::tolls(path, baseline);
            self.tolls.extend(tolls);
            told.extend(missing.iter().map(ToString::to_string));
        }
        told
    }
}

/// All that is known of a run.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    plan: &'a PlannedRun,
    one_kernel: bool,
    client: &'a NodeContext,
    server: &'a NodeContext,
    devices: &'a [Device],
    /// Of the client and of the server.
    netns: [u32; 2],
    rounds: &'a [MeasuredRound],
    /// `None` where the agents had no result any more.
    finished: Option<&'a FinishedRun>,
    broken: Option<&'a str>,
}

fn join(inputs: &Inputs<'_>) -> Run {
    let &Inputs {
        plan,
        one_kernel,
        rounds,
        finished,
        ..
    } = inputs;
    let test = plan.test;
    let reported = rounds::reported(rounds);
    let waterfall = waterfall(inputs);
    let shares = samples::shares(inputs);
    let mut run = Run {
        id: plan.id.clone(),
        path: plan.path.clone(),
        backend: plan.service.map(|_| plan.server.endpoint.clone()),
        test,
        options: plan.options.clone(),
        valid: false,
        invalid_reasons: Vec::new(),
        rounds: rounds
            .iter()
            .map(|round| rounds::round(test, one_kernel, round))
            .collect(),
        throughput_bits_per_second: rounds::throughput(test, &reported),
        transactions_per_second: rounds::transactions(test, &reported),
        rtt_ns: rounds::rtt(&reported),
        lost: (!test.has_segments()).then(|| rounds::sum(&reported, |side| side.lost)),
        udp: rounds::udp(&plan.options, &reported),
        cpu: cpu(inputs, &reported),
        // Of the sender, which is one of them.
        tcp: finished.and_then(|finished| finished.sides().find_map(|side| side.tcp.clone())),
        http: finished.and_then(|finished| finished.client.http.clone()),
        components: shares.as_ref().map(|shares| shares.components.clone()),
        regions: shares.map(|shares| shares.regions),
        closure: waterfall
            .as_ref()
            .and_then(|waterfall| waterfall.closure)
            // Of what lies beyond the near side nothing was seen.
            .filter(|_| plan.path.kind != PathKind::External),
        exemplars: exemplars(inputs),
        drops: (waterfall.as_ref()).and_then(|waterfall| waterfall.drops.clone()),
        probe: probe(finished, waterfall.as_ref()),
        stages: waterfall.map(|waterfall| waterfall.stages),
    };
    if let Ok(cost) = toll::probe_cost(&run) {
        run.probe.cost = cost;
    }
    run.invalid_reasons = validity::reasons(inputs, &reported, &run);
    run.valid = run.invalid_reasons.is_empty();
    run
}

fn cpu(inputs: &Inputs<'_>, reported: &[&Sides]) -> Cpu {
    let stream = inputs.plan.test.is_stream();
    let amounts = Amounts {
        bytes: stream.then(|| rounds::sum(reported, |side| side.bytes)),
        transactions: (!stream).then(|| rounds::sum(reported, |side| side.transactions)),
    };
    let client: Vec<&RoundSide> = reported.iter().map(|sides| &sides.client).collect();
    let server: Vec<&RoundSide> = reported
        .iter()
        .filter_map(|sides| sides.server.as_ref())
        .collect();
    let at_client = inputs.finished.map(|finished| &finished.client);
    let at_server = inputs
        .finished
        .and_then(|finished| finished.server.as_ref());
    let [mut at_client, at_server] =
        [at_client, at_server].map(|side| side.and_then(|side| side.stacks.as_ref()));
    if inputs.one_kernel {
        // One agent samples for both.
        at_client = at_client.or(at_server);
    }
    // One agent on one node tells its own time on both sides.
    let two_agents = inputs.plan.client.node != inputs.plan.server.node;
    let besides: &[&RoundSide] = if inputs.one_kernel && two_agents {
        &server
    } else {
        &[]
    };
    Cpu {
        local: cpu::side(inputs.client, &client, besides, at_client, amounts),
        remote: (!inputs.one_kernel)
            .then(|| cpu::side(inputs.server, &server, &[], at_server, amounts))
            .flatten(),
        shared: inputs.one_kernel,
    }
}

/// Where the time of the rounds with the probe went; `None` where the probe saw nothing.
fn waterfall(inputs: &Inputs<'_>) -> Option<Waterfall> {
    let sides: Vec<&RunSide> = inputs.finished?.sides().collect();
    let saw_nothing = |side: &&RunSide| {
        let mut times = side.user_times.iter();
        side.edges.is_empty()
            && side.drops.as_ref().is_none_or(Vec::is_empty)
            && times.all(|user| user.times.count == 0)
    };
    if sides.iter().all(saw_nothing) {
        return None;
    }
    // Of all these rounds, the bad ones too: their packets were counted.
    let rtt = rounds::rtt(&match inputs.plan.test {
        TestType::HttpRr => rounds::measured(inputs.rounds),
        _ => rounds::probed(inputs.rounds),
    });
    let mut waterfall = stage::waterfall(&Journey {
        rtt_mean_ns: rtt.as_ref().map(|rtt| rtt.mean),
        requests: rtt.map_or(0, |rtt| rtt.count),
        ..journey(inputs, &sides)
    });
    let test = inputs.plan.test;
    if test.is_stream() {
        // The other way there are acknowledgements, and a word at a round's end.
        (waterfall.stages).retain(|stage| stage.direction == test.payload());
    }
    Some(waterfall)
}

/// The slowest requests of the rounds with the probe; `None` where none were kept.
fn exemplars(inputs: &Inputs<'_>) -> Option<Vec<Exemplar>> {
    let sides: Vec<&RunSide> = inputs.finished?.sides().collect();
    let options = &inputs.plan.options;
    let messages = Messages {
        protocol: inputs.plan.test.protocol(),
        request_bytes: options.request_bytes,
        response_bytes: options.response_bytes,
    };
    let exemplars = stage::exemplars(&journey(inputs, &sides), &messages);
    (!exemplars.is_empty()).then_some(exemplars)
}

/// The run's way, without times.
fn journey<'a>(inputs: &Inputs<'a>, sides: &'a [&'a RunSide]) -> Journey<'a> {
    let [client, server] = inputs.netns;
    Journey {
        sides,
        devices: inputs.devices,
        client: end(&inputs.plan.client, client),
        server: end(&inputs.plan.server, server),
        one_kernel: inputs.one_kernel,
        rtt_mean_ns: None,
        requests: 0,
    }
}

fn end(site: &Site, netns: u32) -> End<'_> {
    End {
        node: &site.node,
        netns,
    }
}

/// What the probes of all agents did, losses added up by reason.
fn probe(finished: Option<&FinishedRun>, waterfall: Option<&Waterfall>) -> Probe {
    let absent = |hook: &str| waterfall?.absent.get(hook);

    let mut probe = Probe {
        programs: Vec::new(),
        missing: Vec::new(),
        lost: BTreeMap::new(),
        cost: ProbeCost {
            ratio: None,
            ci95: None,
            metric: None,
        },
    };
    for side in finished.iter().flat_map(|finished| finished.sides()) {
        probe.programs.extend(side.programs.iter().cloned());
        for missing in &side.missing {
            let stages = absent(&missing.hook).into_iter().flatten();
            probe.missing.push(MissingHook {
                stages: stages.map(|stage| (*stage).to_owned()).collect(),
                ..missing.clone()
            });
        }
        for (reason, count) in &side.lost {
            *probe.lost.entry(reason.clone()).or_default() += count;
        }
        for (reason, count) in side.stacks.iter().flat_map(|stacks| &stacks.lost) {
            *probe.lost.entry(format!("stacks_{reason}")).or_default() += count;
        }
    }
    probe
}

#[cfg(test)]
mod tests;
