//! What there is: nodes, the mesh's pairs, and the last runs.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use nettoll_core::api::{InventoryNode, NodeSummary, PairSummary};

use crate::{agents::Agent, directory::Known, mesh::Mesh};

/// Agents that are asked at once.
const AT_ONCE: usize = 64;

/// The nodes, each with what its agent says of itself.
pub(super) async fn nodes(known: &Known) -> Vec<NodeSummary> {
    let nodes = known.inventory.nodes.iter();
    let asked: Vec<_> = nodes
        .map(|node| summary(node.clone(), known.agents.of(&node.name).cloned()))
        .collect();
    stream::iter(asked).buffered(AT_ONCE).collect().await
}

async fn summary(node: InventoryNode, agent: Option<Arc<Agent>>) -> NodeSummary {
    let answer = match agent {
        Some(agent) => agent.info().await.map_err(|error| error.to_string()),
        None => Err(format!("the agent of node {} is not known", node.name)),
    };
    let (agent, error) = match answer {
        Ok(info) => (Some(info), None),
        Err(error) => (None, Some(error)),
    };
    NodeSummary { node, agent, error }
}

/// All edges of which something is known.
pub(super) fn pairs(mesh: &Mesh) -> Vec<PairSummary> {
    let now_ms = mesh.now_ms();
    let state = mesh.state();
    let edges = state.edges(now_ms, false);
    edges.map(|edge| PairSummary::of(&edge, now_ms)).collect()
}
