//! The controller against a real API server: who leads, certificates, and what is refused.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_tests::control_plane::{ADMIN, CONTROLLER, ControlPlane, free_port, wait};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

/// The body of a page on 127.0.0.1.
fn page(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP")?;
    ensure!(head.starts_with("HTTP/1.0 200"), "{head}");
    Ok(body.to_owned())
}

fn leads(plane: &ControlPlane, name: &str, most: Duration) -> Result<()> {
    wait(&format!("{name} leads"), most, || {
        Ok(plane.leader().as_deref() == Some(name)
            && plane.log(name)?.contains("the cluster is known"))
    })
    .with_context(|| {
        format!(
            "{:?} leads; {name} said:\n{}",
            plane.leader(),
            said(plane, name)
        )
    })
}

/// What a controller logged, as far as it is known.
fn said(plane: &ControlPlane, name: &str) -> String {
    plane.log(name).unwrap_or_default()
}

/// A control plane with the namespaces `nettoll`, and `shop` and `data` that allow tests.
fn plane() -> Result<ControlPlane> {
    let plane = ControlPlane::start()?;
    for namespace in ["nettoll", "shop", "data", "closed"] {
        plane.kubectl(&["create", "namespace", namespace])?;
    }
    plane.kubectl(&[
        "label",
        "namespace",
        "shop",
        "data",
        "nettoll.dev/allow=true",
    ])?;
    Ok(plane)
}

fn make_pod(plane: &ControlPlane, namespace: &str, name: &str, annotations: Value) -> Result<()> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "annotations": annotations},
        "spec": {"containers": [{"name": "c", "image": "none"}]}});
    plane.kubectl_with(&["create", "-f", "-"], &pod.to_string())?;
    Ok(())
}

fn annotation(pod: &Value, key: &str) -> String {
    let value = &pod["metadata"]["annotations"][format!("nettoll.dev/{key}")];
    value.as_str().unwrap_or_default().to_owned()
}

/// The pod once its request is answered, and what the last Event about it says.
fn answered(plane: &ControlPlane, namespace: &str, name: &str) -> Result<(Value, Value)> {
    let mut pod = Value::Null;
    wait(&format!("an answer to {name}"), SOON, || {
        pod = plane.get(&["-n", namespace, "pod", name])?;
        Ok(["done", "failed", "refused"].contains(&annotation(&pod, "status").as_str()))
    })?;
    let selector = format!("involvedObject.name={name}");
    let mut event = Value::Null;
    wait(&format!("an Event about {name}"), SOON, || {
        let events = plane.get(&["-n", namespace, "events", "--field-selector", &selector])?;
        let last = events["items"].as_array().and_then(|items| items.last());
        event = last.cloned().unwrap_or_default();
        Ok(!event.is_null())
    })?;
    ensure!(
        event["involvedObject"]["uid"] == pod["metadata"]["uid"],
        "{event}"
    );
    Ok((pod, event))
}

#[test]
fn one_leads_and_another_takes_over() -> Result<()> {
    let plane = plane()?;
    // The leaders before wrote down that shop has used its hour.
    let slice = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 600;
    let used = json!({"shop": [[slice, 60, 180]]}).to_string();
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": "nettoll", "name": "nettoll-controller",
            "annotations": {"nettoll.dev/usage": used}},
        "spec": {}});
    plane.kubectl_with(&["create", "-f", "-"], &lease.to_string())?;
    let (first_port, second_port) = (free_port()?, free_port()?);
    let first = plane.controller("first", ADMIN, first_port)?;
    leads(&plane, "first", SOON)?;
    let second = plane.controller("second", ADMIN, second_port)?;
    wait("second waits", SOON, || {
        Ok(plane.log("second")?.contains("waiting: first leads"))
    })?;
    // Both are healthy; one has an API and the metrics of paths.
    for port in [first_port, second_port] {
        assert_eq!(page(port, "/healthz")?, "ok\n");
        assert_eq!(page(port, "/readyz")?, "ok\n");
        assert!(page(port, "/metrics")?.contains("process_resident_memory_bytes"));
    }
    assert!(page(first_port, "/metrics")?.contains("nettoll_mesh"));
    assert!(!page(second_port, "/metrics")?.contains("nettoll_"));
    page(first_port + 1, "/api/v1/inventory")?;
    assert!(page(second_port + 1, "/api/v1/inventory").is_err());

    // Given back, the Lease is taken at the next look.
    first.end()?;
    leads(&plane, "second", Duration::from_secs(5))?;
    // What the first one took up, the second one counts on from.
    make_pod(
        &plane,
        "shop",
        "web",
        json!({"nettoll.dev/pair": "pod/data/db"}),
    )?;
    let (web, event) = answered(&plane, "shop", "web")?;
    assert_eq!(annotation(&web, "status"), "refused");
    let message = event["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("asked for 62 tests in the last hour"),
        "{message}"
    );
    // A dead holder's is taken when it has not been renewed for 15 s.
    let third = plane.controller("third", ADMIN, first_port)?;
    wait("third waits", SOON, || {
        Ok(plane.log("third")?.contains("waiting: second leads"))
    })?;
    drop(second);
    let died = Instant::now();
    leads(&plane, "third", Duration::from_secs(25))?;
    ensure!(died.elapsed() > Duration::from_secs(10), "it did not wait");

    // One whose Lease was taken away ends, whatever it was doing.
    let stolen = json!({"spec": {"holderIdentity": "thief"}}).to_string();
    let patch = [
        "patch",
        "lease",
        "nettoll-controller",
        "--type=merge",
        "-p",
        &stolen,
    ];
    plane.kubectl(&[&["-n", "nettoll"], &patch[..]].concat())?;
    wait("third ends", SOON, || {
        Ok(plane.log("third")?.contains("was taken by thief"))
    })?;
    wait("third's port is free", SOON, || {
        Ok(page(first_port, "/healthz").is_err())
    })?;
    drop(third);
    Ok(())
}

#[test]
fn certificates_are_made_once_and_those_of_others_used() -> Result<()> {
    let plane = plane()?;
    let controller = plane.controller("one", ADMIN, free_port()?)?;
    leads(&plane, "one", SOON)?;
    let secret = |name: &str| plane.get(&["-n", "nettoll", "secret", name]);
    let names = ["nettoll-ca", "nettoll-agent-tls", "nettoll-controller-tls"];
    let made = names.map(|name| secret(name).map(|secret| secret["data"].clone()));
    let made: Vec<_> = made.into_iter().collect::<Result<_>>()?;
    for (name, data) in names.iter().zip(&made).skip(1) {
        let secret = secret(name)?;
        assert_eq!(secret["type"], "kubernetes.io/tls");
        let managed = &secret["metadata"]["labels"]["app.kubernetes.io/managed-by"];
        assert_eq!(managed, "nettoll");
        for key in ["ca.crt", "tls.crt", "tls.key"] {
            assert!(!data[key].is_null(), "{name} {key}");
        }
    }
    // No secret is in the log.
    let log = plane.log("one")?;
    assert!(!log.contains("PRIVATE") && !log.contains("BEGIN"), "{log}");

    // The next leader keeps them.
    controller.end()?;
    let controller = plane.controller("two", ADMIN, free_port()?)?;
    leads(&plane, "two", SOON)?;
    for (name, data) in names.iter().zip(&made) {
        assert_eq!(secret(name)?["data"], *data, "{name}");
    }
    // One that cannot be used is made anew.
    controller.end()?;
    let broken = json!({"data": {"tls.crt": "cnViYmlzaA=="}}).to_string();
    let patch = [
        "patch",
        "secret",
        "nettoll-agent-tls",
        "--type=merge",
        "-p",
        &broken,
    ];
    plane.kubectl(&[&["-n", "nettoll"], &patch[..]].concat())?;
    let controller = plane.controller("three", ADMIN, free_port()?)?;
    leads(&plane, "three", SOON)?;
    assert_ne!(
        secret("nettoll-agent-tls")?["data"]["tls.crt"],
        "cnViYmlzaA=="
    );
    assert_eq!(secret("nettoll-controller-tls")?["data"], made[2]);

    // Somebody else's (without the label) are used as they are, and no CA is needed.
    controller.end()?;
    for name in &names[1..] {
        let unlabel = ["label", "secret", name, "app.kubernetes.io/managed-by-"];
        plane.kubectl(&[&["-n", "nettoll"], &unlabel[..]].concat())?;
    }
    plane.kubectl(&["-n", "nettoll", "delete", "secret", "nettoll-ca"])?;
    let before = secret("nettoll-agent-tls")?["metadata"]["resourceVersion"].clone();
    let _controller = plane.controller("four", ADMIN, free_port()?)?;
    leads(&plane, "four", SOON)?;
    assert_eq!(
        secret("nettoll-agent-tls")?["metadata"]["resourceVersion"],
        before
    );
    assert!(secret("nettoll-ca").is_err());
    Ok(())
}

#[test]
fn wrong_annotations_are_refused_in_words_by_a_controller_with_its_own_rights() -> Result<()> {
    let plane = plane()?;
    let rights = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/base/rbac.yaml");
    plane.kubectl(&["apply", "-n", "nettoll", "-f", rights])?;
    let _controller = plane.controller("one", CONTROLLER, free_port()?)?;
    leads(&plane, "one", SOON)?;
    make_pod(&plane, "data", "db", json!({}))?;
    make_pod(&plane, "closed", "secret", json!({}))?;
    let untouched = || -> Result<_> {
        let version = |namespace, name| -> Result<_> {
            let pod = plane.get(&["-n", namespace, "pod", name])?;
            Ok(pod["metadata"]["resourceVersion"].clone())
        };
        Ok((version("data", "db")?, version("closed", "secret")?))
    };
    let before = untouched()?;
    let cases = [
        (
            "pair",
            "pod/closed/secret",
            "namespace closed does not allow tests",
        ),
        ("pair", "pod/../db", "no endpoint"),
        ("pair", "pod/data/db\u{7}", "control character"),
        ("pair", "node/n1", "on_demand.allow_nodes"),
        ("pair", "url/https://shop.example/", "on_demand.allow_urls"),
        ("pair", "netns/host", "name its pod"),
        ("tests", "tcp_rr,rm", "which is no test"),
        ("seconds", "1000000", "from 1 to 60"),
        ("sekonds", "3", "there is no annotation"),
    ];
    for (number, (key, value, expected)) in cases.into_iter().enumerate() {
        let name = format!("p{number}");
        let mut annotations = json!({"nettoll.dev/pair": "pod/data/db"});
        annotations[format!("nettoll.dev/{key}")] = value.into();
        make_pod(&plane, "shop", &name, annotations)?;
        let (pod, event) = answered(&plane, "shop", &name)?;
        assert_eq!(annotation(&pod, "status"), "refused", "{value}");
        let message = event["message"].as_str().unwrap_or_default();
        assert!(message.contains(expected), "{message}");
        assert_eq!(event["reason"], "NettollRefused");
        assert_eq!(event["type"], "Warning");
        assert!(!message.chars().any(char::is_control) && message.len() <= 1_024);
    }
    // The source's namespace has to opt in as well.
    make_pod(
        &plane,
        "closed",
        "asks",
        json!({"nettoll.dev/pair": "pod/data/db"}),
    )?;
    let (_, event) = answered(&plane, "closed", "asks")?;
    assert!(
        event["message"]
            .as_str()
            .unwrap_or_default()
            .contains("namespace closed")
    );
    // 250 KiB is what the API server takes; a little of it is quoted.
    let long = "x".repeat(250 << 10);
    make_pod(&plane, "shop", "long", json!({"nettoll.dev/pair": long}))?;
    let (_, event) = answered(&plane, "shop", "long")?;
    assert!(
        event["message"]
            .as_str()
            .unwrap_or_default()
            .contains("512 are the most")
    );
    assert_eq!(untouched()?, before);

    // A new value is looked at again, and what does not run yet is waited for.
    let again = [
        "annotate",
        "pod",
        "p1",
        "--overwrite",
        "nettoll.dev/pair=pod/data/db",
    ];
    plane.kubectl(&[&["-n", "shop"], &again[..]].concat())?;
    let mut first = Value::Null;
    wait("p1 is pending", SOON, || {
        first = plane.get(&["-n", "shop", "pod", "p1"])?;
        Ok(annotation(&first, "status") == "pending")
    })?;
    assert_eq!(annotation(&first, "observed").len(), 16);
    // Another configuration is taken up; a wrong one is not, and an Event about the controller's own
    // pod says so.
    make_pod(&plane, "nettoll", "one", json!({}))?;
    plane.configure("one", "[on_demand]\nmax_seconds = \"many\"\n")?;
    let refused = "involvedObject.name=one,reason=NettollConfigurationRefused";
    wait("the wrong configuration is told", SOON, || {
        let events = plane.get(&["-n", "nettoll", "events", "--field-selector", refused])?;
        let message = events["items"][0]["message"].as_str();
        let told = message.unwrap_or_default();
        Ok(told.contains("the configuration before stays in use") && told.contains("\"many\""))
    })?;
    plane.configure("one", "[on_demand]\nallow_nodes = [\"n1\"]\n")?;
    wait("the configuration is taken up", SOON, || {
        Ok(plane.log("one")?.contains("took up the configuration"))
    })?;
    make_pod(
        &plane,
        "shop",
        "now",
        json!({"nettoll.dev/pair": "node/n1"}),
    )?;
    wait("node/n1 is allowed", SOON, || {
        let pod = plane.get(&["-n", "shop", "pod", "now"])?;
        Ok(annotation(&pod, "status") == "pending")
    })?;

    // Its end is no hang.
    plane.kubectl(&[
        "-n",
        "shop",
        "delete",
        "pod",
        "p1",
        "--grace-period=0",
        "--force",
    ])?;
    wait("p1's end is noticed", SOON, || {
        Ok(plane
            .log("one")?
            .contains("pod shop/p1: NettollFailed: the pod was deleted"))
    })
}
