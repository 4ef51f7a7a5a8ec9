//! Tests to a service, through the rules of a real kube-proxy, and to a URL, of the real API server.

use std::{net::UdpSocket, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nettoll_lab::netns;
use nettoll_tests::{
    cluster::{
        NETNS, Space, TOOLS, apply, configuration::Configured, eventually, kubectl, kubectl_with,
        pair, ready,
    },
    deploy,
};
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

/// A node's own address is what `on_demand.allow_nodes` is about, by whichever name it is asked for.
#[test]
fn a_port_of_a_node_is_measured_where_the_node_is_allowed() -> Result<()> {
    let (space, _) = pair("nettoll-test-port")?;
    apply(&json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "port", "namespace": space.name() },
        "spec": {
            "type": "NodePort",
            "selector": { "pod": "two" },
            "ports": [{ "protocol": "TCP", "port": 80, "targetPort": 9480 }],
        },
    }))?;
    let to = "service/nettoll-test-port/port@n2";
    let (status, _, events) = asked(&space, to, "tcp_rr")?;
    let told = |events: &[String]| {
        let mut refused = events
            .iter()
            .filter(|told| told.starts_with("NettollRefused: "));
        refused.any(|told| told.contains("node/n2 is not in on_demand.allow_nodes"))
    };
    ensure!(status == "refused", "{status} {events:?}");
    eventually(PATIENCE, || {
        let events = space.events("one")?;
        ensure!(told(&events), "{events:?}");
        Ok(())
    })?;

    let _configured = Configured::with("[on_demand]\nallow_nodes = [\"n2\"]\n")?;
    // Until the configuration is there it is refused, and asked for again.
    let mut run = 0;
    let results = eventually(PATIENCE * 2, || {
        run += 1;
        space.annotate(
            "one",
            &json!({ "nettoll.dev/run": format!("allowed-{run}") }),
        )?;
        let (status, pod) = space.answered("one", PATIENCE)?;
        ensure!(status == "done", "{status} {:?}", space.events("one")?);
        let results = pod.annotation("nettoll.dev/result").context("no result")?;
        Ok(serde_json::from_str::<Vec<Value>>(results)?)
    })?;
    println!("{:?}", space.events("one")?.last());
    let result = results.first().context("no result")?;
    ensure!(
        result["backend"] == "pod/nettoll-test-port/two" && result["value"].as_f64() > Some(0.0),
        "{result}"
    );
    // No other node than the listed one.
    let (status, _, events) = asked(&space, "service/nettoll-test-port/port@n1", "tcp_rr")?;
    ensure!(status == "refused", "{status} {events:?}");
    Ok(())
}

/// Where the server of names is; pods reach the API server's host.
const NAME_SERVER: &str = "198.19.0.1";
/// `kubernetes.default.svc` as a question has it, and the address of that service.
const NAME: &[u8] = b"\x0akubernetes\x07default\x03svc\x00\x00\x01";
const ADDRESS: [u8; 4] = [198, 19, 128, 1];

/// Answers the one name that a cluster without a server of names lacks, as long as the test runs.
fn serve_names() -> Result<()> {
    let socket = netns::within(NETNS, || UdpSocket::bind((NAME_SERVER, 53)))??;
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut message = buffer[..length].to_vec();
            message[2] |= 0x80;
            if message[12..].starts_with(NAME) {
                message[7] = 1;
                message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4]);
                message.extend(ADDRESS);
            } else {
                message[3] |= 3;
            }
            let _ = socket.send_to(&message, from);
        }
    });
    Ok(())
}

#[test]
fn the_sample_measures_the_way_to_the_api_server() -> Result<()> {
    ready()?;
    serve_names()?;
    let url = "https://kubernetes.default.svc/version";
    let _configured = Configured::with(&format!("[on_demand]\nallow_urls = [\"{url}\"]\n"))?;
    let sample = deploy::read("samples/api-server-path.yaml")?;
    ensure!(sample.contains(&format!("pair: url/{url}\n")), "{sample}");
    let space = Space::new("nettoll-test-url", true)?;
    let dns = json!({
        "nameservers": [NAME_SERVER],
        "searches": ["nettoll-test-url.svc.cluster.local", "svc.cluster.local"],
        "options": [{ "name": "ndots", "value": "5" }],
    });
    let sample = sample
        .replace("nettoll-api-sample", space.name())
        .replace("image: busybox:1.36", &format!("image: {TOOLS}"))
        .replace(
            "spec:\n",
            &format!("spec:\n  dnsPolicy: None\n  dnsConfig: {dns}\n"),
        );
    kubectl_with(&["apply", "-f", "-"], &sample)?;
    space.ready("client")?;
    // Until the configuration is there it is refused, and asked for again.
    let mut run = 0;
    let pod = eventually(PATIENCE * 2, || {
        run += 1;
        space.annotate("client", &json!({ "nettoll.dev/run": run.to_string() }))?;
        let (status, pod) = space.answered("client", PATIENCE)?;
        ensure!(status == "done", "{status} {:?}", space.events("client")?);
        Ok(pod)
    })?;
    let results: Vec<Value> =
        serde_json::from_str(pod.annotation("nettoll.dev/result").context("no result")?)?;
    println!("{:?}", space.events("client")?.last());
    let result = results.first().context("no result")?;
    ensure!(
        result["test"] == "http_rr" && result["valid"] == true,
        "{result}"
    );
    ensure!(result["status"].is_null(), "{result}");
    let mut sum = 0.0;
    for stage in ["name_lookup", "connect", "tls", "first_byte"] {
        let ns = result["stages"][stage].as_f64().unwrap_or_default();
        ensure!(ns > 0.0, "{stage}: {result}");
        sum += ns;
    }
    let value = result["value"].as_f64().unwrap_or_default();
    ensure!(value > sum / 2.0, "{result}");
    Ok(())
}
