//! All that the rounds said so far.

use std::collections::HashMap;

use super::{
    Pair, Plan, Round, Wire,
    edge::{EdgeState, MAX_AGE_MS, judge},
    joint::{self, Joints},
    light,
    streams::{Streamed, Streams},
    toll::{Figures, Toll},
    window,
};
use crate::{
    api::{LightPathMtu, LightPlan, LightRound, LightWatched},
    endpoint::PathKind,
    histogram::USER_SUB_BITS,
    inventory::{Cluster, Member},
    stats::PairedRatio,
};

/// The kinds of path of a pair, in the order in which their states are kept.
const KINDS: [PathKind; 2] = [PathKind::HostToHost, PathKind::PodToPod];
/// After so many periods without a round that both probes followed there is no closure any more.
const CLOSURE_PERIODS: u64 = 20;

/// The plan and what came of it.
#[derive(Debug, Default)]
pub struct State {
    pub(super) plan: Plan,
    /// Where each member is in the plan, by name.
    pub(super) members: HashMap<String, usize>,
    /// Where each pair is in the plan, by id.
    pub(super) ids: HashMap<u64, usize>,
    /// Those of the plan's pairs.
    pub(super) pairs: Vec<PairState>,
    pub(super) streams: Streams,
}

#[derive(Debug, Default)]
pub(super) struct PairState {
    edges: [EdgeState; 2],
    toll: Toll,
    /// From the first round with the probe on: most pairs have none.
    joints: Option<Box<Joints>>,
    pub(super) stream: Option<Streamed>,
}

/// A round that was taken in, and where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Accepted<'a> {
    /// The kind of its path.
    pub path: PathKind,
    /// The pod network, where the path uses one.
    pub network: &'a str,
    /// The client's zone.
    pub from_zone: &'a str,
    /// The server's zone.
    pub to_zone: &'a str,
    /// What is left for the wire, where this makes the round of both nodes whole.
    pub wire: Option<Wire>,
}

/// What is known of an edge.
#[derive(Clone, Copy, Debug)]
pub struct EdgeView<'a> {
    /// The kind of its path.
    pub path: PathKind,
    /// The pod network; empty where the path uses none.
    pub network: &'a str,
    /// The probing node.
    pub from: &'a Member,
    /// The probed node.
    pub to: &'a Member,
    /// It answers; `None` where that is not known yet.
    pub up: Option<bool>,
    /// Median and 99th percentile of the last 10 to 19 rounds.
    pub rtt_ns: Option<[f64; 2]>,
    /// Requests so far.
    pub requests: u64,
    /// Those without an answer.
    pub lost: u64,
    /// When the last round with an answer ended, by the caller's clock.
    pub last_success_ms: Option<u64>,
    /// It carries packets as large as it claims; `None` where that was not tested lately, or the
    /// path is down.
    pub path_mtu_ok: Option<bool>,
    /// Of `pod-to-pod`: what it costs beyond `host-to-host`.
    pub toll: Option<TollView<'a>>,
    /// Of `pod-to-pod`: what the stages of both nodes, and the wire as `host-to-host` has it, add
    /// up to, of the mean round-trip time.
    pub closure: Option<f64>,
    /// Payload of the last day's stream.
    pub bytes_per_second: Option<f64>,
    /// Of `pod-to-pod`: its throughput over that of `host-to-host`.
    pub throughput_toll: Option<f64>,
}

/// The toll of a pair.
#[derive(Clone, Copy, Debug)]
pub struct TollView<'a>(&'a Toll);

impl TollView<'_> {
    /// How many pairs of rounds it is of.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.0.pairs()
    }

    /// Ratio of mean and of median round-trip times; `None` before the first pair of rounds.
    #[must_use]
    pub fn ratios(&self) -> Option<[f64; 2]> {
        self.0.ratios()
    }

    /// The same with 95 % intervals, from 10 pairs of rounds on.
    #[must_use]
    pub fn intervals(&self) -> Option<[PairedRatio; 2]> {
        self.0.intervals()
    }

    /// How wide the interval of the ratio of means is, for whoever asks it of thousands of pairs:
    /// it is from the ratio over this to the ratio times this. From 10 pairs of rounds on.
    #[must_use]
    pub fn interval_ratio(&self) -> Option<f64> {
        self.0.interval_ratio()
    }
}

impl State {
    /// Takes up a new plan. What is known of pairs that stay is kept, that of others is gone. A
    /// pair whose node or pod is another one than before begins anew.
    pub fn replan(&mut self, plan: Plan) {
        let mut before = std::mem::take(&mut self.pairs);
        let known = std::mem::take(&mut self.ids);
        let places = |plan: &Plan, index: usize| {
            let pair = plan.pairs().get(index)?;
            let ends = [plan.members().get(pair.from)?, plan.members().get(pair.to)?];
            Some(ends.map(|end| {
                let pod = end.pod.as_ref().map(|pod| (pod.address, pod.uid.clone()));
                (end.address, pod)
            }))
        };
        for (index, pair) in plan.pairs().iter().enumerate() {
            let old = known.get(&pair.id);
            let kept = old.and_then(|&old| Some((old, std::mem::take(before.get_mut(old)?))));
            let mut state = PairState::default();
            if let Some((old, kept)) = kept {
                state = kept;
                if places(&self.plan, old) != places(&plan, index) {
                    state.edges[1] = EdgeState::default();
                    state.toll = Toll::default();
                    state.joints = None;
                    state.stream = None;
                }
            }
            self.pairs.push(state);
            self.ids.insert(pair.id, index);
        }
        let named = plan.members().iter().enumerate();
        self.members = named
            .map(|(index, member)| (member.name.clone(), index))
            .collect();
        self.plan = plan;
        self.forget_streams();
    }

    /// A member, and what its agent has to do.
    #[must_use]
    pub fn orders(&self, node: &str) -> Option<(&Member, LightPlan)> {
        let index = *self.members.get(node)?;
        Some((self.plan.members().get(index)?, self.plan.light(index)))
    }

    /// Plans for a cluster as it is now, and takes that up.
    pub fn plan_for(&mut self, cluster: &Cluster, settings: &super::Settings) {
        self.replan(Plan::new(cluster, settings));
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Takes in a round that the agent of `node` told at `now_ms`. An agent speaks of its own
    /// edges only.
    pub fn take(
        &mut self,
        node: &str,
        round: &LightRound,
        now_ms: u64,
    ) -> (Round, Option<Accepted<'_>>) {
        let Some((index, kind)) = self.find(&round.edge, node, |pair| pair.from) else {
            return (Round::Unknown, None);
        };
        let judged = judge(round);
        let apart_ms = self.apart_ms();
        let state = self
            .pairs
            .get_mut(index)
            .filter(|_| judged == Round::Counted);
        let Some(state) = state else {
            return (judged, None);
        };
        let pods = kind == PathKind::PodToPod;
        let at_ms = state.edges[usize::from(pods)].add(round, now_ms);
        if let Some(p50_ns) = window::median(USER_SUB_BITS, &round.rtt.histogram) {
            let figures = Figures {
                at_ms,
                probed: !round.stages.is_empty(),
                mean_ns: round.rtt.sum_ns as f64 / round.rtt.count as f64,
                p50_ns,
            };
            state.toll.add(pods, figures, apart_ms);
        }
        let mut wire = None;
        if !round.stages.is_empty() {
            let joints = state.joints.get_or_insert_default();
            wire = joints.client(pods, round, at_ms, apart_ms);
        }
        (judged, self.accepted(index, kind, wire))
    }

    /// Takes in what the agent of `node` saw of a round that it answered. `None` for what is not
    /// its own, not new, or makes no sense.
    pub fn take_watched(&mut self, node: &str, round: &LightWatched) -> Option<Accepted<'_>> {
        let (index, kind) = self.find(&round.edge, node, |pair| pair.to)?;
        if round.stages.is_empty() || round.age_ms > MAX_AGE_MS || !joint::sensible(&round.stages) {
            return None;
        }
        let apart_ms = self.apart_ms();
        let joints = self.pairs.get_mut(index)?.joints.get_or_insert_default();
        let pods = kind == PathKind::PodToPod;
        if joints.has(pods, round) {
            return None;
        }
        let wire = joints.server(pods, round, apart_ms);
        self.accepted(index, kind, wire)
    }

    /// Takes in what the agent of `node` told at `now_ms` of the MTU of one of its paths. An edge
    /// that is not its own is passed over.
    pub fn take_path_mtu(&mut self, node: &str, test: &LightPathMtu, now_ms: u64) {
        let found = self.find(&test.edge, node, |pair| pair.from);
        let known = found.and_then(|(index, kind)| Some((self.pairs.get_mut(index)?, kind)));
        if let Some((pair, kind)) = known {
            pair.edges[usize::from(kind == PathKind::PodToPod)].set_path_mtu(test, now_ms);
        }
    }

    /// A pair's place in the plan and the path, where `node` is that end of it.
    fn find(
        &self,
        edge: &str,
        node: &str,
        end: impl FnOnce(&Pair) -> usize,
    ) -> Option<(usize, PathKind)> {
        let (id, kind) = light::pair_of(edge)?;
        let index = *self.ids.get(&id)?;
        let member = self
            .plan
            .members()
            .get(end(self.plan.pairs().get(index)?))?;
        (member.name == node).then_some((index, kind))
    }

    fn accepted(&self, index: usize, kind: PathKind, wire: Option<Wire>) -> Option<Accepted<'_>> {
        let pair = self.plan.pairs().get(index)?;
        let members = self.plan.members();
        Some(Accepted {
            path: kind,
            network: network(&self.plan, kind),
            from_zone: &members.get(pair.from)?.zone,
            to_zone: &members.get(pair.to)?.zone,
            wire,
        })
    }

    /// Rounds of a pair's paths that are no further apart belong together.
    fn apart_ms(&self) -> u64 {
        u64::from(self.plan.settings.period_ms / 2)
    }

    /// The edges of which something is known, in the order of the plan; `exported`: only those
    /// with series of their own.
    pub fn edges(&self, now_ms: u64, exported: bool) -> impl Iterator<Item = EdgeView<'_>> {
        let pairs = self.plan.pairs().iter().zip(&self.pairs);
        pairs
            .filter(move |(pair, _)| pair.exported || !exported)
            .filter_map(move |(pair, state)| {
                let members = self.plan.members();
                let ends = [members.get(pair.from)?, members.get(pair.to)?];
                Some(
                    KINDS
                        .into_iter()
                        .zip(&state.edges)
                        .filter_map(move |(path, edge)| self.view(path, ends, edge, state, now_ms)),
                )
            })
            .flatten()
    }

    fn view<'a>(
        &'a self,
        path: PathKind,
        [from, to]: [&'a Member; 2],
        edge: &'a EdgeState,
        pair: &'a PairState,
        now_ms: u64,
    ) -> Option<EdgeView<'a>> {
        if !edge.is_fresh(now_ms, self.plan.settings.period_ms) {
            return None;
        }
        // A path that is down has no round-trip time and no toll now.
        let up = edge.up == Some(true);
        let pods = path == PathKind::PodToPod;
        let whole = up && pods;
        let joints = pair.joints.as_ref().filter(|_| whole);
        let since_ms =
            now_ms.saturating_sub(CLOSURE_PERIODS * u64::from(self.plan.settings.period_ms));
        let stream = pair
            .stream
            .filter(|streamed| up && streamed.is_fresh(now_ms, &self.plan))
            .map(|streamed| streamed.stream)
            .unwrap_or_default();
        let [on_host, between_pods] = stream.bytes_per_second;
        Some(EdgeView {
            path,
            network: network(&self.plan, path),
            from,
            to,
            up: edge.up,
            rtt_ns: up.then(|| edge.window.percentiles([50.0, 99.0])).flatten(),
            requests: edge.requests,
            lost: edge.lost,
            last_success_ms: edge.last_success_ms,
            path_mtu_ok: up.then(|| edge.path_mtu_ok(now_ms)).flatten(),
            toll: whole.then_some(TollView(&pair.toll)),
            closure: joints.and_then(|joints| joints.closure(since_ms)),
            bytes_per_second: if pods { between_pods } else { on_host },
            throughput_toll: stream.toll.filter(|_| pods),
        })
    }
}

fn network(plan: &Plan, path: PathKind) -> &str {
    if path == PathKind::PodToPod {
        &plan.network
    } else {
        ""
    }
}
