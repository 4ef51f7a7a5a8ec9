//! Which nodes probe which.

use std::collections::BTreeMap;

use super::plan::Why;
use crate::{hash, inventory::Member};

/// A zone is paired with so many others at most, the next ones on a ring of zones: with a zone for
/// each node the pairs of zones would be as the square of the nodes.
const MAX_ZONE_PEERS: usize = 16;

/// Brings members in the order of the ring.
pub(super) fn sort(members: &mut [Member]) {
    members.sort_by_cached_key(|member| (hash::mixed(&[&member.name]), member.name.clone()));
}

/// Each member with its next `neighbours`, nearest first: (from, to, distance).
///
/// Each probes and is probed by exactly so many, or by all others where there are fewer. A member
/// that comes adds its own and takes the place of the farthest of each of those before it.
pub(super) fn neighbours(
    members: usize,
    neighbours: usize,
) -> impl Iterator<Item = (usize, usize, Why)> {
    let most = neighbours.min(members.saturating_sub(1));
    (1..=most).flat_map(move |distance| {
        (0..members).map(move |from| (from, (from + distance) % members, Why::Ring(distance)))
    })
}

/// For each ordered pair of zones so many pairs of members: (from, to).
///
/// Sources are those of the first zone with the least hashes, which depend on both zones, so that
/// other members serve other zones; each goes to the next member of the second zone on the ring.
/// Where there are fewer sources, each has further targets.
pub(super) fn zone_pairs(members: &[Member], each: usize) -> Vec<(usize, usize)> {
    let mut zones: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        if !member.zone.is_empty() {
            zones.entry(&member.zone).or_default().push(index);
        }
    }
    let mut order: Vec<(&str, Vec<usize>)> = zones.into_iter().collect();
    order.sort_by_cached_key(|(zone, _)| (hash::mixed(&[zone]), (*zone).to_owned()));
    let peers = MAX_ZONE_PEERS.min(order.len().saturating_sub(1));
    let mut pairs = Vec::new();
    for (position, (from, sources)) in order.iter().enumerate() {
        for distance in 1..=peers {
            let (to, targets) = &order[(position + distance) % order.len()];
            let count = each.min(sources.len() * targets.len());
            let chosen = least(members, sources, (from, to), count);
            for number in 0..count {
                let source = chosen[number % chosen.len()];
                // Both are positions on the ring.
                let next = targets.partition_point(|&target| target < source);
                let target = targets[(next + number / chosen.len()) % targets.len()];
                pairs.push((source, target));
            }
        }
    }
    pairs
}

/// Up to `count` members of a zone with the least hashes.
fn least(members: &[Member], zone: &[usize], zones: (&str, &str), count: usize) -> Vec<usize> {
    let key = |&index: &usize| {
        let name = members[index].name.as_str();
        (hash::mixed(&[zones.0, zones.1, name]), index)
    };
    let mut keys: Vec<(u64, usize)> = zone.iter().map(key).collect();
    if count < keys.len() {
        keys.select_nth_unstable(count);
        keys.truncate(count);
    }
    keys.sort_unstable();
    keys.into_iter().map(|(_, index)| index).collect()
}
