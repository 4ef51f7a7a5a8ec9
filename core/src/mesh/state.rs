//! All that the rounds said so far.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    Pair, Plan, Round, Wire,
    edge::{EdgeState, MAX_AGE_MS, judge},
    joint::{self, Joints},
    light,
    streams::{Streamed, Streams},
    toll::{Figures, Toll},
    view::{Accepted, EdgeView, TollView},
    window,
};
use crate::{
    api::{LightPathMtu, LightPlan, LightRound, LightWatched, Protocol},
    endpoint::PathKind,
    histogram::USER_SUB_BITS,
    inventory::{Cluster, Member},
    report::TestType,
};

/// The kinds of path of a pair, in the order in which their states are kept.
const KINDS: [PathKind; 2] = [PathKind::HostToHost, PathKind::PodToPod];
/// After so many periods without a round that both probes followed there is no closure any more.
const CLOSURE_PERIODS: u64 = 20;

/// So many pairs that ended last are known at least, and of those before not many more. A node that
/// comes or goes ends a few.
const MAX_ENDED: usize = 10_000;

/// The plan and what came of it.
#[derive(Debug, Default)]
pub struct State {
    pub(super) plan: Plan,
    /// Where each member is in the plan, by name; bystanders come after them.
    pub(super) members: HashMap<String, usize>,
    /// Where each pair is in the plan, by id.
    pub(super) ids: HashMap<u64, usize>,
    /// Pairs of the plans before that are not in this one, by id: the last ones, and those before.
    ended: [HashSet<u64>; 2],
    /// Those of the plan's pairs. Each plan has them in an order of its own: only boxes are moved.
    #[expect(
        clippy::vec_box,
        reason = "moved at each plan, and larger than a line of cache"
    )]
    pub(super) pairs: Vec<Box<PairState>>,
    pub(super) streams: Streams,
}

#[derive(Debug, Default)]
pub(super) struct PairState {
    udp: Rounds,
    /// From the first round over TCP on.
    tcp: Option<Box<Rounds>>,
    /// From the first round with the probe on: most pairs have none.
    joints: Option<Box<Joints>>,
    pub(super) stream: Option<Streamed>,
}

/// What the rounds over one protocol say.
#[derive(Debug, Default)]
struct Rounds {
    edges: [EdgeState; 2],
    toll: Toll,
}

impl Rounds {
    /// Forgets what was between pods.
    fn forget_pods(&mut self) {
        self.edges[1] = EdgeState::default();
        self.toll = Toll::default();
    }
}

impl State {
    /// Takes up a new plan. What is known of pairs that stay is kept, that of others is gone. A
    /// pair whose node or pod is another one than before begins anew.
    pub fn replan(&mut self, plan: Plan) {
        let before = std::mem::take(&mut self.pairs).into_iter();
        let mut before: Vec<_> = before.map(Some).collect();
        let known = std::mem::take(&mut self.ids);
        self.pairs.reserve_exact(plan.pairs().len());
        self.ids.reserve(plan.pairs().len());
        for (index, pair) in plan.pairs().iter().enumerate() {
            let old = known.get(&pair.id);
            let kept = old.and_then(|&old| Some((old, before.get_mut(old)?.take()?)));
            let mut state = match kept {
                Some((old, mut state)) => {
                    if !same_places((&self.plan, old), (&plan, index)) {
                        state.udp.forget_pods();
                        state.tcp.iter_mut().for_each(|rounds| rounds.forget_pods());
                        state.joints = None;
                        state.stream = None;
                    }
                    state
                }
                None => Box::default(),
            };
            if !plan.settings.tcp_rr {
                state.tcp = None;
            }
            self.pairs.push(state);
            self.ids.insert(pair.id, index);
        }
        let [last, earlier] = &mut self.ended;
        if last.len() > MAX_ENDED {
            *earlier = std::mem::take(last);
        }
        let ids = &self.ids;
        for ended in [&mut *last, earlier] {
            ended.retain(|id| !ids.contains_key(id));
        }
        last.extend(known.into_keys().filter(|id| !ids.contains_key(id)));
        let agents = plan.members().iter().chain(plan.bystanders()).enumerate();
        self.members = agents
            .map(|(index, member)| (member.name.clone(), index))
            .collect();
        self.plan = plan;
        self.forget_streams();
    }

    /// A member of the cluster, and the version of what its agent has to do: `None` where that is
    /// nothing.
    #[must_use]
    pub fn order(&self, node: &str) -> Option<(&Member, Option<String>)> {
        let index = *self.members.get(node)?;
        let members = self.plan.members();
        let bystander = || self.plan.bystanders().get(index - members.len());
        let member = members.get(index).or_else(bystander)?;
        Some((member, self.plan.version(index)))
    }

    /// What that is.
    #[must_use]
    pub fn light(&self, node: &str) -> Option<LightPlan> {
        let index = *self.members.get(node)?;
        Some(self.plan.light(index))
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
        let Some((index, kind, protocol)) = self.find(&round.edge, node, |pair| pair.from) else {
            return (self.unplanned(&round.edge), None);
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
        let udp = protocol == Protocol::Udp;
        let rounds = if udp {
            &mut state.udp
        } else {
            state.tcp.get_or_insert_default()
        };
        let at_ms = rounds.edges[usize::from(pods)].add(round, now_ms);
        if let Some(p50_ns) = window::median(USER_SUB_BITS, &round.rtt.histogram) {
            let figures = Figures {
                at_ms,
                probed: !round.stages.is_empty(),
                mean_ns: round.rtt.sum_ns as f64 / round.rtt.count as f64,
                p50_ns,
            };
            rounds.toll.add(pods, figures, apart_ms);
        }
        let mut wire = None;
        if udp && !round.stages.is_empty() {
            let joints = state.joints.get_or_insert_default();
            wire = joints.client(pods, round, at_ms, apart_ms);
        }
        (judged, self.accepted(index, kind, protocol, wire))
    }

    /// Takes in what the agent of `node` saw of a round that it answered. `None` for what is not
    /// its own, not new, or makes no sense.
    pub fn take_watched(&mut self, node: &str, round: &LightWatched) -> Option<Accepted<'_>> {
        let (index, kind) = self.find_udp(&round.edge, node, |pair| pair.to)?;
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
        self.accepted(index, kind, Protocol::Udp, wire)
    }

    /// Takes in what the agent of `node` told at `now_ms` of the MTU of one of its paths. An edge
    /// that is not its own is passed over.
    pub fn take_path_mtu(&mut self, node: &str, test: &LightPathMtu, now_ms: u64) {
        let found = self.find_udp(&test.edge, node, |pair| pair.from);
        let known = found.and_then(|(index, kind)| Some((self.pairs.get_mut(index)?, kind)));
        if let Some((pair, kind)) = known {
            pair.udp.edges[usize::from(kind == PathKind::PodToPod)].set_path_mtu(test, now_ms);
        }
    }

    /// A pair's place in the plan, the path and what its rounds go over, where `node` is that end of
    /// it.
    fn find(
        &self,
        edge: &str,
        node: &str,
        end: impl FnOnce(&Pair) -> usize,
    ) -> Option<(usize, PathKind, Protocol)> {
        let (id, kind, protocol) = light::pair_of(edge)?;
        if !self.plan.settings.protocols().contains(&protocol) {
            return None;
        }
        let index = *self.ids.get(&id)?;
        let member = self
            .plan
            .members()
            .get(end(self.plan.pairs().get(index)?))?;
        (member.name == node).then_some((index, kind, protocol))
    }

    /// What a round of an edge is that is not in the plan. An agent makes rounds of the plan before
    /// until it has the next one.
    fn unplanned(&self, edge: &str) -> Round {
        let ended = |(id, _, protocol)| {
            let planned = self.plan.settings.protocols().contains(&protocol);
            self.ended.iter().any(|ended| ended.contains(&id))
                || self.ids.contains_key(&id) && !planned
        };
        match light::pair_of(edge) {
            Some(pair) if ended(pair) => Round::Ended,
            _ => Round::Unknown,
        }
    }

    /// As [`Self::find`], of edges over UDP alone: only those have what the caller is told of.
    fn find_udp(
        &self,
        edge: &str,
        node: &str,
        end: impl FnOnce(&Pair) -> usize,
    ) -> Option<(usize, PathKind)> {
        let (index, kind, protocol) = self.find(edge, node, end)?;
        (protocol == Protocol::Udp).then_some((index, kind))
    }

    fn accepted(
        &self,
        index: usize,
        kind: PathKind,
        protocol: Protocol,
        wire: Option<Wire>,
    ) -> Option<Accepted<'_>> {
        let pair = self.plan.pairs().get(index)?;
        let members = self.plan.members();
        Some(Accepted {
            path: kind,
            network: network(&self.plan, kind),
            from_zone: &members.get(pair.from)?.zone,
            to_zone: &members.get(pair.to)?.zone,
            test: test_over(protocol),
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
                let tcp = state.tcp.as_deref();
                let udp = (Protocol::Udp, &state.udp);
                let all = [Some(udp), tcp.map(|tcp| (Protocol::Tcp, tcp))];
                Some(all.into_iter().flatten().flat_map(move |of| {
                    (KINDS.into_iter())
                        .filter_map(move |path| self.view(path, ends, of, state, now_ms))
                }))
            })
            .flatten()
    }

    fn view<'a>(
        &'a self,
        path: PathKind,
        [from, to]: [&'a Arc<Member>; 2],
        (protocol, rounds): (Protocol, &'a Rounds),
        pair: &'a PairState,
        now_ms: u64,
    ) -> Option<EdgeView<'a>> {
        let pods = path == PathKind::PodToPod;
        let edge = &rounds.edges[usize::from(pods)];
        if !edge.is_fresh(now_ms, self.plan.settings.period_ms) {
            return None;
        }
        // A path that is down has no round-trip time and no toll now.
        let up = edge.up == Some(true);
        let whole = up && pods;
        // A pair has them once, not for each protocol.
        let udp = protocol == Protocol::Udp;
        let joints = pair.joints.as_ref().filter(|_| udp && whole);
        let since_ms =
            now_ms.saturating_sub(CLOSURE_PERIODS * u64::from(self.plan.settings.period_ms));
        let stream = pair
            .stream
            .filter(|streamed| udp && up && streamed.is_fresh(now_ms, &self.plan))
            .map(|streamed| streamed.stream)
            .unwrap_or_default();
        let [on_host, between_pods] = stream.bytes_per_second;
        Some(EdgeView {
            path,
            network: network(&self.plan, path),
            from,
            to,
            test: test_over(protocol),
            up: edge.up,
            rtt_ns: up.then(|| edge.window.percentiles([50.0, 99.0])).flatten(),
            requests: edge.requests,
            lost: edge.lost,
            last_success_ms: edge.last_success_ms,
            path_mtu_ok: up.then(|| edge.path_mtu_ok(now_ms)).flatten(),
            toll: whole.then_some(TollView(&rounds.toll)),
            closure: joints.and_then(|joints| joints.closure(since_ms)),
            bytes_per_second: if pods { between_pods } else { on_host },
            throughput_toll: stream.toll.filter(|_| pods),
        })
    }
}

/// Both ends of a plan's pair.
fn ends((plan, index): (&Plan, usize)) -> Option<[&Arc<Member>; 2]> {
    let pair = plan.pairs().get(index)?;
    Some([plan.members().get(pair.from)?, plan.members().get(pair.to)?])
}

/// Whether two plans' pairs are between the same places.
fn same_places(one: (&Plan, usize), other: (&Plan, usize)) -> bool {
    let same = |(one, other): (&Arc<Member>, &Arc<Member>)| {
        Arc::ptr_eq(one, other) || (one.address, &one.pod) == (other.address, &other.pod)
    };
    let both = ends(one).zip(ends(other));
    both.is_some_and(|(ones, others)| ones.into_iter().zip(others).all(same))
}

/// The type of traffic of rounds over a protocol.
fn test_over(protocol: Protocol) -> TestType {
    match protocol {
        Protocol::Udp => TestType::UdpRr,
        Protocol::Tcp => TestType::TcpRr,
    }
}

fn network(plan: &Plan, path: PathKind) -> &str {
    if path == PathKind::PodToPod {
        &plan.network
    } else {
        ""
    }
}
