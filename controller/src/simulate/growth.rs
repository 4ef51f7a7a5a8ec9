//! Whether planning grows as the nodes do: one large cluster beside as many small ones as have its
//! nodes in all, in turn. So both sides are as long, go through as much memory, and meet the same
//! neighbours of the machine.

use nettoll_core::{
    inventory::Cluster,
    mesh::{Plan, Settings},
};
use serde::Serialize;

use super::{made_up::node, planned, took::once};

/// Of these, the first is thrown away.
const PAIRS: usize = 41;

/// What planning full rounds took of the processor.
#[derive(Debug, Serialize)]
pub(super) struct Growth {
    nodes: u32,
    clusters: u32,
    /// In the orders of the large cluster's agents and of those of all small ones.
    edges: [usize; 2],
    /// Of the large cluster and of all small ones, in ms.
    pairs_cpu_ms: Vec<[f64; 2]>,
}

/// Plans a cluster of `nodes`, and as many clusters of `small` nodes as have as many.
pub(super) fn growth(nodes: u32, small: u32, zones: u32, settings: &Settings) -> Growth {
    let cluster = |first: u32, nodes: u32| {
        let mut cluster = Cluster::new("vxlan");
        for number in first..first + nodes {
            for event in node(number, zones, true) {
                cluster.apply(event);
            }
        }
        cluster
    };
    let clusters = (nodes / small).max(1);
    let large = [cluster(0, small * clusters)];
    let all_small: Vec<_> = (0..clusters)
        .map(|number| cluster(number * small, small))
        .collect();
    // Plans are kept until all of a side are made: both sides have as much memory to go through.
    let plan = |clusters: &[Cluster]| {
        let plan = |cluster: &Cluster| Plan::new(cluster, settings);
        let plans: Vec<_> = clusters.iter().map(plan).collect();
        let edges = plans.iter().map(planned).sum::<usize>();
        (plans, edges)
    };
    let mut edges = [0; 2];
    let mut pair = |number: usize| {
        let mut took = [0.0; 2];
        // Each is first as often as the other.
        for side in [number % 2, 1 - number % 2] {
            let clusters = if side == 0 { &large[..] } else { &all_small };
            let (time, (_plans, made)) = once(|| plan(clusters));
            (took[side], edges[side]) = (time.cpu_ms, made);
        }
        took
    };
    let pairs_cpu_ms = (0..PAIRS).map(&mut pair).skip(1).collect();
    Growth {
        nodes: small * clusters,
        clusters,
        edges,
        pairs_cpu_ms,
    }
}
