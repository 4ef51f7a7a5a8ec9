//! What each agent has to do for the plan.

use std::{
    fmt::Write as _,
    hash::{Hash as _, Hasher as _},
    iter,
    net::{IpAddr, SocketAddr},
};

use super::{Pair, Plan, Why};
use crate::{
    api::{
        LIGHT_CLIENT_PORT, LIGHT_PORT, LightEdge, LightPlace, LightPlan, LightResponder,
        LightWatch, Protocol,
    },
    endpoint::{Endpoint, Path, PathKind},
    hash::{self, Digest},
    inventory::Member,
};

/// How the ids of edges end, by their paths and by what their rounds go over.
const ENDS: [(&str, PathKind, Protocol); 4] = [
    ("h", PathKind::HostToHost, Protocol::Udp),
    ("p", PathKind::PodToPod, Protocol::Udp),
    ("ht", PathKind::HostToHost, Protocol::Tcp),
    ("pt", PathKind::PodToPod, Protocol::Tcp),
];

/// The longest id of an edge.
const EDGE_ID: usize = 16 + "-ht".len();

/// The id of a pair's edge.
fn edge_id(pair: u64, kind: PathKind, protocol: Protocol) -> String {
    let is = |end: &&(&str, PathKind, Protocol)| (end.1, end.2) == (kind, protocol);
    let end = ENDS.iter().find(is).map_or("", |end| end.0);
    let mut id = String::with_capacity(EDGE_ID);
    // Writing to a text cannot fail.
    let _ = write!(id, "{pair:016x}-{end}");
    id
}

/// The pair of an edge, its path, and what its rounds go over.
pub(super) fn pair_of(edge: &str) -> Option<(u64, PathKind, Protocol)> {
    let (pair, end) = edge.split_once('-')?;
    let &(_, kind, protocol) = ENDS.iter().find(|known| known.0 == end)?;
    Some((u64::from_str_radix(pair, 16).ok()?, kind, protocol))
}

impl Plan {
    /// The version of a member's light plan, a hash of all that makes it what it is: an agent whose
    /// work is the same needs no new one, and none is made to see that. `None` for who is no member.
    #[must_use]
    pub fn version(&self, member: usize) -> Option<String> {
        let own = self.members().get(member)?;
        let told = |index: usize| self.told.get(index);
        let settings = &self.settings;
        let mut digest = Digest::new();
        self.network.hash(&mut digest);
        [
            settings.period_ms,
            settings.requests,
            settings.payload_bytes,
            settings.requests_per_second,
            settings.timeout_ms,
            settings.idle_seconds,
            settings.tcp_rr.into(),
        ]
        .hash(&mut digest);
        (told(member), own.pod.as_ref().map(|pod| &pod.uid)).hash(&mut digest);
        for pair in self.pairs_from(member) {
            (pair.id, told(pair.to), self.is_probed(pair.why)).hash(&mut digest);
        }
        for (asking, pair) in self.watched(member) {
            (pair.id, told(asking)).hash(&mut digest);
        }
        Some(format!("{:016x}", digest.finish()))
    }

    /// The light plan of a member's agent, with its [`version`](Self::version); one with nothing to do
    /// for who is no member.
    ///
    /// A pair's rounds follow each other at once, those over UDP first, and of either protocol the two
    /// paths in an order by chance that stays; the pairs of a node are spread over the period, and so
    /// are the nodes.
    #[must_use]
    pub fn light(&self, member: usize) -> LightPlan {
        let mut plan = self.settings.empty_plan();
        let (Some(from), Some(version)) = (self.members().get(member), self.version(member)) else {
            return plan;
        };
        plan.version = version;
        let from = places(from);
        for place in &from {
            let responder = |&protocol| LightResponder {
                place: place.clone(),
                port: LIGHT_PORT,
                protocol,
            };
            let protocols = self.settings.protocols().iter();
            plan.responders.extend(protocols.map(responder));
        }
        let pairs = self.pairs_from(member);
        let most = from.len() * pairs.len() * self.settings.protocols().len();
        let mut taken = Vec::with_capacity(most);
        plan.edges.reserve_exact(most);
        for (pair, begin_ms) in pairs.iter().zip(self.begins(member)) {
            let Some(to) = self.members().get(pair.to) else {
                continue;
            };
            for (from, end) in from.iter().zip(ends(to)) {
                // Two nodes with one address cannot be told apart by their flows.
                let flow = (from.address, end.1);
                if flow.0.is_ipv4() == flow.1.is_ipv4() && !taken.contains(&flow) {
                    taken.push(flow);
                    plan.edges.extend(self.edges(pair, from, end, to, begin_ms));
                }
            }
        }
        plan.watches = self.watches(member);
        plan
    }

    /// The pairs in which this member is probed and the probes of both nodes follow, with who asks.
    fn watched(&self, member: usize) -> impl Iterator<Item = (usize, &Pair)> {
        let count = self.members().len();
        let most = self.settings.probed_pairs.min(self.neighbours());
        (1..=most).filter_map(move |distance| {
            let asking = (member + count - distance) % count;
            let mut pairs = self.pairs_from(asking).iter();
            let pair = pairs.find(|pair| pair.to == member && pair.why == Why::Ring(distance))?;
            Some((asking, pair))
        })
    }

    /// The edges to this member that both probes follow.
    fn watches(&self, member: usize) -> Vec<LightWatch> {
        let mut watches: Vec<LightWatch> = Vec::new();
        for (asking, pair) in self.watched(member) {
            let [from, to] = [asking, member].map(|end| self.members().get(end));
            let (Some(from), Some(to)) = (from, to) else {
                continue;
            };
            for (from_place, place) in places(from).into_iter().zip(places(to)) {
                let kind = kind_from(&from_place);
                let watch = LightWatch {
                    edge: edge_id(pair.id, kind, Protocol::Udp),
                    path: kind,
                    from: SocketAddr::new(from_place.address, LIGHT_CLIENT_PORT),
                    from_node: Some(from.address),
                    responder: LightResponder {
                        place,
                        port: LIGHT_PORT,
                        protocol: Protocol::Udp,
                    },
                };
                let flow = |watch: &LightWatch| (watch.from, watch.responder.place.address);
                let is_one = watch.from.is_ipv4() == watch.responder.place.address.is_ipv4();
                if is_one && watches.iter().all(|known| flow(known) != flow(&watch)) {
                    watches.push(watch);
                }
            }
        }
        watches
    }

    /// Whether the probes of a pair's nodes follow its rounds.
    fn is_probed(&self, why: Why) -> bool {
        matches!(why, Why::Ring(distance) if distance <= self.settings.probed_pairs)
    }

    /// A pair's edges from a place: one for each protocol.
    fn edges(
        &self,
        pair: &Pair,
        from: &LightPlace,
        (to, address): (Endpoint, IpAddr),
        to_node: &Member,
        begin_ms: u32,
    ) -> impl Iterator<Item = LightEdge> {
        let kind = kind_from(from);
        let pods = kind == PathKind::PodToPod;
        // An odd id has its rounds between pods first.
        let second = pods != (pair.id % 2 == 1);
        let protocols = self.settings.protocols();
        // The last one takes it as it is.
        let ends = iter::repeat_n(to, protocols.len());
        let numbered = protocols.iter().zip(ends).zip(0_u32..);
        numbered.map(move |((&protocol, to), number)| {
            let before = 2 * number + u32::from(second);
            let offset_ms = begin_ms + before * self.settings.sending_ms();
            let udp = protocol == Protocol::Udp;
            LightEdge {
                id: edge_id(pair.id, kind, protocol),
                path: Path {
                    kind,
                    from: from.endpoint.clone(),
                    to,
                    network: pods.then(|| self.network.clone()),
                },
                from: from.clone(),
                to: address,
                to_node: Some(to_node.address),
                protocol,
                from_port: if udp { LIGHT_CLIENT_PORT } else { 0 },
                to_port: LIGHT_PORT,
                offset_ms: offset_ms % self.settings.period_ms.max(1),
                probe: udp && self.is_probed(pair.why),
            }
        })
    }

    /// When the rounds of a member's pairs begin: each pair has a slot by its hash, or the next
    /// free one, so that no two are at once unless there are more pairs than slots.
    fn begins(&self, member: usize) -> Vec<u32> {
        let period_ms = self.settings.period_ms.max(1);
        let rounds = u32::try_from(self.settings.rounds_of_pair()).unwrap_or(u32::MAX);
        let slot_ms = self.settings.sending_ms().saturating_mul(rounds);
        let slots = (period_ms / slot_ms).max(1);
        let phase = self.members().get(member).map_or(0, |member| {
            hash::mixed(&["phase", &member.name]) % u64::from(period_ms)
        });
        let pairs = self.pairs_from(member);
        let mut used = vec![false; slots as usize];
        let slot = |pair: &Pair| {
            let wanted = (pair.id % u64::from(slots)) as u32;
            let mut next = (0..slots).map(|further| (wanted + further) % slots);
            let slot = next.find(|&slot| !used[slot as usize]).unwrap_or(wanted);
            used[slot as usize] = true;
            ((phase + u64::from(slot) * u64::from(slot_ms)) % u64::from(period_ms)) as u32
        };
        pairs.iter().map(slot).collect()
    }
}

/// The kind of the path from a place of [`places`].
fn kind_from(place: &LightPlace) -> PathKind {
    match place.pod_uid {
        Some(_) => PathKind::PodToPod,
        None => PathKind::HostToHost,
    }
}

/// The node itself, then its pod.
fn ends(member: &Member) -> impl Iterator<Item = (Endpoint, IpAddr)> {
    let node = (Endpoint::Node(member.name.clone()), member.address);
    let pod = member.pod.as_ref();
    iter::once(node).chain(pod.map(|pod| (pod.endpoint.clone(), pod.address)))
}

/// The same, as agents find them.
fn places(member: &Member) -> Vec<LightPlace> {
    let uids = [None, member.pod.as_ref().map(|pod| pod.uid.clone())];
    let place = |((endpoint, address), pod_uid)| LightPlace {
        endpoint,
        pod_uid,
        address,
    };
    ends(member).zip(uids).map(place).collect()
}

/// A hash of what light plans tell of a member.
pub(super) fn told(member: &Member) -> u64 {
    let pod = member.pod.as_ref().map(|pod| (&pod.endpoint, pod.address));
    let mut digest = Digest::new();
    (&member.name, member.address, pod).hash(&mut digest);
    digest.finish()
}
