//! Tests to a service: through the rules of a real kube-proxy, from a pod to a backend of the
//! service and back, as the service's clients go.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nettoll_tests::cluster::{Space, apply, eventually, kubectl, pair};
use serde_json::{Value, json};

/// For three tests of a second each, with their baselines, and the kubelet's delays.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a service over the pods with these labels.
fn service(space: &Space, name: &str, pods: &Value, target_port: u16) -> Result<()> {
    let port = |protocol: &str| json!({ "name": protocol.to_lowercase(), "protocol": protocol, "port": 80, "targetPort": target_port });
    apply(&json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": space.name() },
        "spec": { "selector": pods, "ports": [port("TCP"), port("UDP")] },
    }))
}

/// Asks from pod `one` and waits for the answer to this very request.
fn asked(space: &Space, pair: &str, tests: &str) -> Result<(String, Vec<Value>, Vec<String>)> {
    space.annotate(
        "one",
        &json!({
            "nettoll.dev/pair": pair,
            "nettoll.dev/tests": tests,
            "nettoll.dev/seconds": "1",
            "nettoll.dev/run": pair.replace('/', "."),
            "nettoll.dev/status": null,
            "nettoll.dev/result": null,
        }),
    )?;
    let (status, pod) = space.answered("one", PATIENCE)?;
    let results = pod.annotation("nettoll.dev/result");
    let results = results.map_or_else(|| Ok(Vec::new()), serde_json::from_str)?;
    Ok((status, results, space.events("one")?))
}

#[test]
fn a_service_is_measured_through_its_address() -> Result<()> {
    let (space, _) = pair("nettoll-test-service")?;
    // Its rules choose `one` as often as `two`: the test finds the one that it listens on.
    service(&space, "both", &json!({ "in": "both" }), 9480)?;
    kubectl(&["label", "pod", "-n", space.name(), "--all", "in=both"])?;
    let tests = "tcp_rr,tcp_stream,udp_rr";
    let (status, results, events) = asked(&space, "service/nettoll-test-service/both:80", tests)?;
    println!("{:?}", events.last());
    ensure!(status == "done" && results.len() == 3, "{events:?}");
    for result in &results {
        ensure!(result["value"].as_f64() > Some(0.0), "{result}");
        ensure!(
            result["backend"] == "pod/nettoll-test-service/two",
            "{result}"
        );
    }
    ensure!(
        results.iter().any(|result| result["toll"].is_number()),
        "no toll: {results:?}"
    );

    // A pod to itself, by way of its service.
    service(&space, "self", &json!({ "pod": "one" }), 9480)?;
    let (status, results, events) = asked(&space, "service/nettoll-test-service/self", "tcp_rr")?;
    println!("{:?}", events.last());
    ensure!(status == "done", "{events:?}");
    let backend = &results.first().context("no result")?["backend"];
    ensure!(backend == "pod/nettoll-test-service/one", "{backend}");

    // A backend's program listens on the port already.
    let two = ["exec", "-n", space.name(), "two", "--"];
    kubectl(&[&two[..], &["httpd", "-p", "8080", "-h", "/tmp"]].concat())?;
    service(&space, "held", &json!({ "pod": "two" }), 8080)?;
    let (status, _, events) = asked(&space, "service/nettoll-test-service/held", "tcp_rr")?;
    ensure!(status == "failed", "{status} {events:?}");
    let told = |word: &str| events.iter().any(|event| event.contains(word));
    ensure!(told("url/http://") && told(":8080"), "{events:?}");

    let (status, _, events) = asked(&space, "service/nettoll-test-service/held:81", "tcp_rr")?;
    ensure!(status == "refused", "{status} {events:?}");
    eventually(PATIENCE, || {
        let events = space.events("one")?;
        let told = events
            .iter()
            .any(|event| event.contains("no such TCP port"));
        ensure!(told, "{events:?}");
        Ok(())
    })
}
