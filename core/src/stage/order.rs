//! The order in which a packet passes the edges of one direction.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::hop::{Edge, Event, Hop};

/// Sorts edges along the packet's way: by a depth-first search from its first hop, in reverse
/// postorder, so that a hop comes after all that lead to it. Where the way forks, the busier
/// branch comes first. Pieces of the way that nothing connects follow each other, the one that
/// begins with the thread's send first; a hop met again on a circle keeps its first place.
pub(super) fn along_the_way<'a>(edges: &[&'a Edge]) -> Vec<&'a Edge> {
    let mut next: BTreeMap<Hop, Vec<&Edge>> = BTreeMap::new();
    for &edge in edges {
        next.entry(edge.from).or_default().push(edge);
    }
    // The branch visited last ends up first in reverse postorder.
    for branches in next.values_mut() {
        branches.sort_by_key(|edge| edge.packets);
    }
    let reached: BTreeSet<Hop> = edges.iter().map(|edge| edge.to).collect();
    let mut starts: Vec<Hop> = next.keys().copied().collect();
    // Last come hops that something leads to: all are seen by then but those on circles.
    starts.sort_by_key(|hop| (Reverse(hop.event == Event::UserSend), reached.contains(hop)));

    let mut seen = BTreeSet::new();
    let mut order = Vec::new();
    for start in starts {
        let mut postorder = Vec::new();
        visit(start, &next, &mut seen, &mut postorder);
        order.extend(postorder.into_iter().rev());
    }
    let place: BTreeMap<Hop, usize> = order.into_iter().zip(0..).collect();
    let mut sorted = edges.to_vec();
    sorted.sort_by_key(|edge| {
        (
            place.get(&edge.from),
            place.get(&edge.to),
            edge.many_segments,
        )
    });
    sorted
}

/// Depth-first, as deep as a way has hops.
fn visit(
    hop: Hop,
    next: &BTreeMap<Hop, Vec<&Edge>>,
    seen: &mut BTreeSet<Hop>,
    postorder: &mut Vec<Hop>,
) {
    if !seen.insert(hop) {
        return;
    }
    for edge in next.get(&hop).into_iter().flatten() {
        visit(edge.to, next, seen, postorder);
    }
    postorder.push(hop);
}
