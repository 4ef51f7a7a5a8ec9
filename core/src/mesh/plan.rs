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
        let pair = |from: usize, to: usize, why| Pair {
            id: hash::paired(places[from], places[to]),
            from,
            to,
            why,
            exported: true,
        };
        let count = members.len();
        let mut pairs: Vec<Pair> = ring::neighbours(count, self.neighbours)
            .map(|(from, to, distance)| pair(from, to, Why::Ring(distance)))
            .collect();
        // What each member probes, and by how many it is probed.
        let mut loads = vec![[self.neighbours; 2]; count];
        for (from, to) in ring::zone_pairs(&members, &places, self.settings.zone_pairs) {
            if (to + count - from) % count <= self.neighbours {
                // They are neighbours on the ring.
                continue;
            }
            let full = loads[from][0] >= budget.of_node || loads[to][1] >= budget.of_node;
            if full || pairs.len() >= budget.of_cluster {
                self.left_out += 1;
                continue;
            }
            loads[from][0] += 1;
            loads[to][1] += 1;
            pairs.push(pair(from, to, Why::Zones));
        }
        self.unexported = hide_beyond(budget.exported, &mut pairs);
        // The ring's are in this order already, so that this is one merge.
        pairs.sort_by_key(|pair| pair.from);
        self.first = (0..=count)
            .map(|from| pairs.partition_point(|pair| pair.from < from))
            .collect();
        pairs
            .chunk_by_mut(|one, other| one.from == other.from)
            .for_each(|of_member| of_member.sort_unstable_by_key(|pair| pair.id));
        self.told = members.iter().map(|member| light::told(member)).collect();
        (self.members, self.pairs) = (members, pairs);
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

/// Lets so many pairs have series, those between zones first, then by their distance. How many
/// have none.
fn hide_beyond(exported: usize, pairs: &mut [Pair]) -> usize {
    if pairs.len() <= exported {
        return 0;
    }
    let key = |pair: &Pair| (pair.why, pair.from, pair.to);
    let mut keys: Vec<_> = pairs.iter().map(key).collect();
    let (_, first_hidden, _) = keys.select_nth_unstable(exported);
    let first_hidden = *first_hidden;
    for pair in pairs.iter_mut() {
        pair.exported = key(pair) < first_hidden;
    }
    pairs.len() - exported
}
