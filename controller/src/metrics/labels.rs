//! The sets of labels, all bounded.

use nettoll_core::{
    endpoint::{Endpoint, Path},
    report::{Stage, TestType},
};
use prometheus_client::encoding::EncodeLabelSet;

/// From node to node, by one test.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Edge {
    pub(super) path: &'static str,
    pub(super) network: String,
    pub(super) from_node: String,
    pub(super) to_node: String,
    pub(super) from_zone: &'static str,
    pub(super) to_zone: &'static str,
    pub(super) test: &'static str,
}

/// An edge and what is compared on it.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct EdgeMetric {
    #[prometheus(flatten)]
    pub(super) edge: Edge,
    pub(super) metric: &'static str,
}

/// What the CPU was busy with, on a path.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Component {
    pub(super) path: &'static str,
    pub(super) network: String,
    pub(super) component: String,
}

/// How a test ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Outcome {
    pub(super) test: &'static str,
    pub(super) outcome: &'static str,
}

/// A stage that the derivation has no name for is called after its hops, with devices' names:
/// too many values for a label.
pub(super) fn stage_label(stage: &Stage) -> &str {
    if stage.class.is_none() {
        "unknown"
    } else {
        &stage.stage
    }
}

/// An edge's labels.
pub(super) fn edge(path: &Path, test: TestType, node: &impl Fn(&Endpoint) -> String) -> Edge {
    Edge {
        path: path.kind.as_str(),
        network: path.network.clone().unwrap_or_default(),
        from_node: node(&path.from),
        to_node: node(&path.to),
        from_zone: "",
        to_zone: "",
        test: test.as_str(),
    }
}
