//! Which nodes probe which.

use std::{collections::BTreeMap, sync::Arc};

use crate::{hash, inventory::Member};

/// A zone is paired with so many others at most, the next ones on a ring of zones: with a zone for
/// each node the pairs of zones would be as the square of the nodes.
const MAX_ZONE_PEERS: usize = 16;

/// Members in the order of the ring, and their places on it: a hash of each one's name.
pub(super) fn order(members: Vec<Arc<Member>>) -> (Vec<Arc<Member>>, Vec<u64>) {
    let hashed = members
        .into_iter()
        .map(|member| (hash::mixed(&[&member.name]), member));
    let mut hashed: Vec<(u64, Arc<Member>)> = hashed.collect();
    hashed.sort_unstable_by(|one, other| {
        let place = one.0.cmp(&other.0);
        place.then_with(|| one.1.name.cmp(&other.1.name))
    });
    hashed
        .into_iter()
        .map(|(place, member)| (member, place))
        .unzip()
}

/// The next `neighbours` of a member, nearest first: (member, distance).
///
/// Each probes and is probed by exactly so many, or by all others where there are fewer. A member
/// that comes adds its own and takes the place of the farthest of each of those before it.
pub(super) fn next(
    from: usize,
    members: usize,
    neighbours: usize,
) -> impl Iterator<Item = (usize, usize)> {
    let most = neighbours.min(members.saturating_sub(1));
    (1..=most).map(move |distance| ((from + distance) % members, distance))
}

/// For each ordered pair of zones so many pairs of members: (from, to).
///
/// Sources are those of the first zone with the least hashes, which depend on both zones, so that
/// other members serve other zones; each goes to the next member of the second zone on the ring.
/// Where there are fewer sources, each has further targets.
pub(super) fn zone_pairs(
    members: &[Arc<Member>],
    places: &[u64],
    each: usize,
) -> Vec<(usize, usize)> {
    let mut zones: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        if !member.zone.is_empty() {
            zones.entry(&member.zone).or_default().push(index);
        }
    }
    let hashed = zones
        .into_iter()
        .map(|(zone, of)| (hash::mixed(&[zone]), of));
    let mut order: Vec<(u64, Vec<usize>)> = hashed.collect();
    order.sort_by_key(|(zone, _)| *zone);
    let peers = MAX_ZONE_PEERS.min(order.len().saturating_sub(1));
    let mut pairs = Vec::new();
    for (position, (from, sources)) in order.iter().enumerate() {
        for distance in 1..=peers {
            let (to, targets) = &order[(position + distance) % order.len()];
            let count = each.min(sources.len() * targets.len());
            let chosen = least(places, sources, hash::paired(*from, *to), count);
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

/// Up to `count` members of a zone with the least hashes for this pair of zones.
fn least(places: &[u64], zone: &[usize], zones: u64, count: usize) -> Vec<usize> {
    let key = |&index: &usize| (hash::paired(zones, places[index]), index);
    let mut keys: Vec<(u64, usize)> = zone.iter().map(key).collect();
    if count < keys.len() {
        keys.select_nth_unstable(count);
        keys.truncate(count);
    }
    keys.sort_unstable();
    keys.into_iter().map(|(_, index)| index).collect()
}
