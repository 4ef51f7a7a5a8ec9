//! Kubernetes objects → what the inventory needs of them.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{Resource, ResourceExt as _, core::PartialObjectMeta};
use nettoll_core::{
    annotation::ALLOW_LABEL,
    inventory::{Event, NodeFacts, PodFacts, Role},
};

const ZONE: &str = "topology.kubernetes.io/zone";
const NAME: &str = "app.kubernetes.io/name";
const COMPONENT: &str = "app.kubernetes.io/component";

/// A node.
pub(crate) fn node(node: &Node) -> NodeFacts {
    let status = node.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_ref());
    let internal = addresses
        .into_iter()
        .flatten()
        .find(|address| address.type_ == "InternalIP");
    let conditions = status.and_then(|status| status.conditions.as_ref());
    NodeFacts {
        name: node.name_any(),
        address: internal.and_then(|address| address.address.parse().ok()),
        zone: node.labels().get(ZONE).cloned(),
        ready: conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        labels: Arc::new(node.labels().clone()),
    }
}

/// A pod; `namespace` is nettoll's own, where alone agents and endpoints are.
pub(crate) fn pod(pod: &Pod, namespace: &str) -> PodFacts {
    let label = |key: &str| pod.labels().get(key).map(String::as_str);
    let role = if pod.namespace().as_deref() == Some(namespace) {
        Role::of_labels(label(NAME), label(COMPONENT))
    } else {
        Role::Other
    };
    let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
    let phase = status.and_then(|status| status.phase.as_deref());
    let terminating = pod.meta().deletion_timestamp.is_some();
    let gone = terminating || matches!(phase, Some("Succeeded" | "Failed"));
    let is_ready = || {
        let conditions = status.and_then(|status| status.conditions.as_ref());
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let address: Option<IpAddr> = status
        .and_then(|status| status.pod_ip.as_deref())
        .and_then(|address| address.parse().ok());
    PodFacts {
        uid: pod.uid().unwrap_or_default(),
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        node: spec.and_then(|spec| spec.node_name.clone()),
        address,
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        ready: !gone && phase == Some("Running") && (role != Role::Agent || is_ready()),
        gone,
        role,
    }
}

/// A namespace.
pub(crate) fn namespace(namespace: &PartialObjectMeta<Namespace>) -> Event {
    Event::Namespace {
        name: namespace.name_any(),
        allow: namespace
            .labels()
            .get(ALLOW_LABEL)
            .is_some_and(|value| value == "true"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<T: serde::de::DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_node_has_its_internal_address_and_zone() {
        let facts = node(&parsed(
            r#"{"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z"}},
                "status": {"addresses": [{"type": "Hostname", "address": "n1"},
                                         {"type": "InternalIP", "address": "198.19.0.11"}],
                           "conditions": [{"type": "Ready", "status": "True"}]}}"#,
        ));
        assert_eq!(facts.address, Some("198.19.0.11".parse().unwrap()));
        assert_eq!((facts.zone.as_deref(), facts.ready), (Some("z"), true));
        assert_eq!(facts.labels[ZONE], "z");
    }

    const AGENT: &str = r#"{"metadata": {"namespace": "nettoll", "name": "a", "uid": "u",
            "labels": {"app.kubernetes.io/name": "nettoll", "app.kubernetes.io/component": "agent"}},
        "spec": {"nodeName": "n1", "hostNetwork": true, "containers": []},
        "status": {"phase": "Running", "podIP": "198.19.0.11",
                   "conditions": [{"type": "Ready", "status": "False"}]}}"#;

    #[test]
    fn an_agent_counts_when_it_is_ready_and_only_at_home() {
        let agent: Pod = parsed(AGENT);
        let facts = pod(&agent, "nettoll");
        assert_eq!((facts.role, facts.ready), (Role::Agent, false));
        assert!(facts.host_network);
        let ready: Pod = parsed(&AGENT.replace("False", "True"));
        assert!(pod(&ready, "nettoll").ready);
        // Anybody can label a pod so, elsewhere.
        let elsewhere = pod(&ready, "other");
        assert_eq!((elsewhere.role, elsewhere.ready), (Role::Other, true));
    }

    #[test]
    fn a_pod_that_ends_is_gone() {
        let ending = AGENT.replace(
            r#""uid": "u","#,
            r#""uid": "u", "deletionTimestamp": "2026-11-27T03:00:00Z","#,
        );
        let facts = pod(&parsed(&ending), "nettoll");
        assert!(facts.gone && !facts.ready);
        let failed = pod(&parsed(&AGENT.replace("Running", "Failed")), "nettoll");
        assert!(failed.gone && !failed.ready);
    }

    #[test]
    fn only_true_allows() {
        for (value, expected) in [("true", true), ("false", false), ("yes", false)] {
            let json = format!(
                r#"{{"metadata": {{"name": "shop", "labels": {{"nettoll.dev/allow": "{value}"}}}}}}"#
            );
            let Event::Namespace { allow, .. } = namespace(&parsed(&json)) else {
                panic!()
            };
            assert_eq!(allow, expected);
        }
    }
}
