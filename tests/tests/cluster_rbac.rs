//! What the product's service accounts may do in a real cluster, tried as themselves, and what
//! docs/security.md says of it.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nettoll_lab::netns;
use nettoll_tests::cluster::{NAMESPACE, NETNS, get, kubectl_with, pods};
use serde_json::{Value, json};

const CONTROLLER: &str = "nettoll-controller";

/// Whether the API server lets an account do something; a resource as `leases.coordination.k8s.io`
/// or `pods/status`.
fn may(account: &str, verb: &str, resource: &str, name: &str, namespace: &str) -> Result<bool> {
    let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:{NAMESPACE}:{account}"),
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {
                "verb": verb,
                "group": group,
                "resource": resource,
                "subresource": sub,
                "name": name,
                "namespace": namespace,
            },
        },
    });
    let answer = kubectl_with(&["create", "-o", "json", "-f", "-"], &review.to_string())?;
    let answer: Value = serde_json::from_str(&answer)?;
    answer["status"]["allowed"].as_bool().context("no answer")
}

#[test]
fn the_controller_may_do_what_its_work_needs() -> Result<()> {
    for (verb, resource, name, namespace) in [
        ("list", "nodes", "", NAMESPACE),
        ("watch", "namespaces", "", NAMESPACE),
        ("get", "pods", "", "default"),
        ("get", "services", "", "default"),
        ("list", "endpointslices.discovery.k8s.io", "", "default"),
        ("patch", "pods/status", "", "default"),
        ("create", "events", "", "default"),
        ("create", "leases.coordination.k8s.io", "", NAMESPACE),
        (
            "update",
            "leases.coordination.k8s.io",
            CONTROLLER,
            NAMESPACE,
        ),
        ("create", "secrets", "", NAMESPACE),
        ("get", "secrets", "nettoll-ca", NAMESPACE),
        ("update", "secrets", "nettoll-agent-tls", NAMESPACE),
        ("update", "secrets", "nettoll-controller-tls", NAMESPACE),
    ] {
        ensure!(
            may(CONTROLLER, verb, resource, name, namespace)?,
            "{CONTROLLER} may not {verb} {resource} {name} in {namespace}"
        );
    }
    Ok(())
}

#[test]
fn the_controller_may_do_nothing_else() -> Result<()> {
    for (verb, resource, name, namespace) in [
        ("patch", "pods", "", "default"),
        ("update", "pods/status", "", "default"),
        ("create", "pods", "", NAMESPACE),
        ("delete", "pods", "", NAMESPACE),
        ("create", "pods/exec", "", NAMESPACE),
        ("create", "pods/portforward", "", NAMESPACE),
        ("get", "pods/log", "", NAMESPACE),
        ("patch", "nodes", "", NAMESPACE),
        ("patch", "namespaces", "", NAMESPACE),
        ("list", "services", "", NAMESPACE),
        ("update", "services", "", NAMESPACE),
        ("get", "endpoints", "", NAMESPACE),
        ("list", "events", "", "default"),
        ("delete", "events", "", "default"),
        ("get", "secrets", "", "default"),
        ("create", "secrets", "", "default"),
        ("list", "secrets", "", NAMESPACE),
        ("watch", "secrets", "", NAMESPACE),
        ("get", "secrets", "another", NAMESPACE),
        ("delete", "secrets", "nettoll-ca", NAMESPACE),
        ("update", "leases.coordination.k8s.io", "another", NAMESPACE),
        (
            "update",
            "leases.coordination.k8s.io",
            CONTROLLER,
            "kube-system",
        ),
        ("get", "configmaps", "", NAMESPACE),
        ("update", "daemonsets.apps", "nettoll-agent", NAMESPACE),
        ("create", "serviceaccounts/token", CONTROLLER, NAMESPACE),
        ("escalate", "roles.rbac.authorization.k8s.io", "", NAMESPACE),
        ("impersonate", "users", "", NAMESPACE),
    ] {
        ensure!(
            !may(CONTROLLER, verb, resource, name, namespace)?,
            "{CONTROLLER} may {verb} {resource} {name} in {namespace}"
        );
    }
    Ok(())
}

#[test]
fn the_agents_may_do_nothing() -> Result<()> {
    for account in ["nettoll-agent", "default"] {
        for (verb, resource) in [
            ("get", "pods"),
            ("list", "nodes"),
            ("get", "secrets"),
            ("create", "events"),
        ] {
            ensure!(
                !may(account, verb, resource, "", NAMESPACE)?,
                "{account} may {verb} {resource}"
            );
        }
    }
    Ok(())
}

/// The rules as lines of a table: kind, group/resource, names, verbs.
fn rules(kind: &str) -> Result<Vec<String>> {
    let role = match kind {
        "ClusterRole" => get(&["clusterrole", CONTROLLER])?,
        _ => get(&["role", "-n", NAMESPACE, CONTROLLER])?,
    };
    let words = |value: &Value| {
        let words = value.as_array().into_iter().flatten();
        let words: Vec<_> = words.filter_map(Value::as_str).collect();
        words.join(", ")
    };
    let rules = role["rules"].as_array().context("no rules")?;
    Ok(rules
        .iter()
        .map(|rule| {
            let (resources, names) = (words(&rule["resources"]), words(&rule["resourceNames"]));
            let names = if names.is_empty() { "any" } else { &names };
            format!(
                "| {kind} | {resources} | {names} | {} |",
                words(&rule["verbs"])
            )
        })
        .collect())
}

#[test]
fn the_documents_table_is_what_is_installed() -> Result<()> {
    let document = include_str!("../../docs/security.md");
    let told: Vec<_> = document
        .lines()
        .filter(|line| line.starts_with("| ClusterRole |") || line.starts_with("| Role |"))
        .map(|line| {
            // What it is for is the last column, for people.
            let columns: Vec<_> = line.split(" | ").collect();
            format!("{} |", columns[..columns.len() - 1].join(" | "))
        })
        .collect();
    let installed = [rules("ClusterRole")?, rules("Role")?].concat();
    assert_eq!(told, installed);
    Ok(())
}

#[test]
fn the_api_of_the_controller_is_on_its_loopback_alone() -> Result<()> {
    for pod in pods("controller")? {
        // From the API server's network, which no network policy keeps out here.
        let connect = |port| -> Result<_> {
            let address = SocketAddr::new(pod.address.parse()?, port);
            let patience = Duration::from_secs(3);
            let made = netns::within(NETNS, || TcpStream::connect_timeout(&address, patience))?;
            Ok(made.map_err(|error| error.kind()))
        };
        assert!(connect(9471)?.is_ok(), "no metrics");
        assert_eq!(connect(9472)?.err(), Some(ErrorKind::ConnectionRefused));
    }
    Ok(())
}
