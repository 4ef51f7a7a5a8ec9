//! Who probes whom in this cluster.

use std::collections::HashSet;

use super::{Settings, budget::Budget, ring};
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
    members: Vec<Member>,
    /// By their from-members.
    pairs: Vec<Pair>,
    /// The first pair of each member, and the end.
    first: Vec<usize>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
        let mut members: Vec<Member> = if settings.enabled {
            cluster.members().collect()
        } else {
            Vec::new()
        };
        ring::sort(&mut members);
        let budget = Budget::of(settings);
        let count = members.len();
        let wanted = settings.neighbours.min(count.saturating_sub(1));
        let neighbours = wanted
            .min(budget.of_node)
            .min(budget.of_cluster / count.max(1));
        let mut plan = Self {
            settings: settings.clone(),
            network: cluster.network().to_owned(),
            neighbours,
            left_out: (wanted - neighbours) * count,
            ..Self::default()
        };
        plan.take(members, budget);
        plan
    }

    fn take(&mut self, members: Vec<Member>, budget: Budget) {
        let pair = |from: usize, to: usize, why| Pair {
            id: hash::mixed(&[&members[from].name, &members[to].name]),
            from,
            to,
            why,
            exported: true,
        };
        let count = members.len();
        let mut pairs: Vec<Pair> = ring::neighbours(count, self.neighbours)
            .map(|(from, to, why)| pair(from, to, why))
            .collect();
        let mut known: HashSet<(usize, usize)> =
            pairs.iter().map(|pair| (pair.from, pair.to)).collect();
        // What each member probes, and by how many it is probed.
        let mut loads = vec![[self.neighbours; 2]; count];
        for (from, to) in ring::zone_pairs(&members, self.settings.zone_pairs) {
            if known.contains(&(from, to)) {
                continue;
            }
            let full = loads[from][0] >= budget.of_node || loads[to][1] >= budget.of_node;
            if full || pairs.len() >= budget.of_cluster {
                self.left_out += 1;
                continue;
            }
            known.insert((from, to));
            loads[from][0] += 1;
            loads[to][1] += 1;
            pairs.push(pair(from, to, Why::Zones));
        }
        self.unexported = pairs.len().saturating_sub(budget.exported);
        if self.unexported > 0 {
            pairs.sort_unstable_by_key(|pair| (pair.why, pair.from, pair.to));
            let beyond = pairs.iter_mut().skip(budget.exported);
            beyond.for_each(|pair| pair.exported = false);
        }
        pairs.sort_unstable_by_key(|pair| (pair.from, pair.id));
        self.first = (0..=count)
            .map(|from| pairs.partition_point(|pair| pair.from < from))
            .collect();
        (self.members, self.pairs) = (members, pairs);
    }

    /// The members, in the order of the ring.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
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
