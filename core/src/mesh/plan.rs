//! Who probes whom in this cluster.

use std::sync::Arc;

use super::{Settings, budget::Budget, light, ring};
use crate::{
    hash,
    inventory::{Cluster, Member},
};

/// The pairs of the mesh, from one generation of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(super) settings: Settings,
    pub(super) network: String,
    /// In the order of the ring.
    members: Vec<Arc<Member>>,
    /// By their from-members.
    pairs: Vec<Pair>,
    /// The first pair of each member, and the end.
    first: Vec<usize>,
    /// What light plans tell of each member, as a hash.
    pub(super) told: Vec<u64>,
    /// Members of the cluster that the settings do not choose.
    bystanders: Vec<Arc<Member>>,
    neighbours: usize,
    left_out: usize,
    unexported: usize,
}

/// A node that probes another, on `host-to-host` and on `pod-to-pod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The same in all plans: a hash of both names.
    pub id: u64,
    /// Index of the probing member.
    pub from: usize,
    /// Index of the probed member.
    pub to: usize,
    /// What it is there for.
    pub why: Why,
    /// It has series of its own.
    pub exported: bool,
}

/// What a pair is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// To have some between each two zones.
    Zones,
    /// The nodes are so far from each other on the ring, from 1.
    Ring(usize),
}

impl Plan {
    /// Plans the mesh of a cluster.
    ///
    /// Where a budget does not pay for all, nodes have fewer neighbours, all alike; between zones
    /// pairs are left out then. [`Self::left_out`] says how many.
    #[must_use]
    pub fn new(cluster: &Cluster, settings: &Settings) -> Self {
        let members = cluster.members().cloned().collect();
        Self::of(cluster.network().to_owned(), members, settings)
    }

    /// The same of all members that a cluster has, and the name of its pod network.
    #[must_use]
    pub fn of(network: String, members: Vec<Arc<Member>>, settings: &Settings) -> Self {
        let chosen =
            |member: &Arc<Member>| settings.enabled && settings.nodes.chooses(&member.labels);
        let (members, bystanders): (Vec<_>, Vec<_>) = members.into_iter().partition(chosen);
        let budget = Budget::of(settings);
        let count = members.len();
        let wanted = settings.neighbours.min(count.saturating_sub(1));
        let neighbours = wanted
            .min(budget.of_node)
            .min(budget.of_cluster / count.max(1));
        let mut plan = Self {
            settings: settings.clone(),
            network,
            neighbours,
            bystanders,
            left_out: (wanted - neighbours) * count,
            ..Self::default()
        };
        plan.take(members, budget);
        plan
    }

    fn take(&mut self, members: Vec<Arc<Member>>, budget: Budget) {
        let (members, places) = ring::order(members);
        let count = members.len();
        let zones = self.between_zones(&members, &places, budget);
        // Those between zones have series of their own first, then the nearest on the ring.
        let of_zones = zones.len().min(budget.exported);
        let of_ring = budget.exported - of_zones;
        let mut zones = zones.into_iter().enumerate().peekable();
        let mut pairs = Vec::with_capacity(count * self.neighbours + zones.len());
        for from in 0..count {
            let begin = pairs.len();
            let pair = |to: usize, why, exported| Pair {
                id: hash::paired(places[from], places[to]),
                from,
                to,
                why,
                exported,
            };
            pairs.extend(
                ring::next(from, count, self.neighbours).map(|(to, distance)| {
                    let before = (distance - 1) * count + from;
                    pair(to, Why::Ring(distance), before < of_ring)
                }),
            );
            while let Some((before, (_, to))) = zones.next_if(|(_, (asking, _))| *asking == from) {
                pairs.push(pair(to, Why::Zones, before < of_zones));
            }
            pairs[begin..].sort_unstable_by_key(|pair| pair.id);
            self.first.push(begin);
        }
        self.first.push(pairs.len());
        self.unexported = pairs.len().saturating_sub(budget.exported);
        self.told = members.iter().map(|member| light::told(member)).collect();
        (self.members, self.pairs) = (members, pairs);
    }

    /// The pairs between zones that are none of the ring's and that the budgets pay for, in order.
    fn between_zones(
        &mut self,
        members: &[Arc<Member>],
        places: &[u64],
        budget: Budget,
    ) -> Vec<(usize, usize)> {
        let count = members.len();
        // What each member probes, and by how many it is probed.
        let mut loads = vec![[self.neighbours; 2]; count];
        let mut pairs = Vec::new();
        for (from, to) in ring::zone_pairs(members, places, self.settings.zone_pairs) {
            if (to + count - from) % count <= self.neighbours {
                // They are neighbours on the ring.
                continue;
            }
            let full = loads[from][0] >= budget.of_node || loads[to][1] >= budget.of_node;
            if full || count * self.neighbours + pairs.len() >= budget.of_cluster {
                self.left_out += 1;
                continue;
            }
            loads[from][0] += 1;
            loads[to][1] += 1;
            pairs.push((from, to));
        }
        pairs.sort_unstable();
        pairs
    }

    /// The members, in the order of the ring.
    #[must_use]
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// Members of the cluster that the settings do not choose: their agents have nothing to do.
    #[must_use]
    pub fn bystanders(&self) -> &[Arc<Member>] {
        &self.bystanders
    }

    /// All pairs.
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// The pairs in which a member probes.
    #[must_use]
    pub fn pairs_from(&self, member: usize) -> &[Pair] {
        match (self.first.get(member), self.first.get(member + 1)) {
            (Some(&begin), Some(&end)) => self.pairs.get(begin..end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// From one round of an edge to its next.
    #[must_use]
    pub fn period_ms(&self) -> u32 {
        self.settings.period_ms
    }

    /// How many next nodes each node probes.
    #[must_use]
    pub fn neighbours(&self) -> usize {
        self.neighbours
    }

    /// Pairs that the budgets do not pay for.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Pairs that are measured, and counted in their zones' series, but have none of their own.
    #[must_use]
    pub fn unexported(&self) -> usize {
        self.unexported
    }
}
