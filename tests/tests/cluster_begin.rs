//! From a cluster without the product to its first figures, and what is left of them with few
//! privileges.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nettoll_tests::{
    cluster::{
        NAMESPACE,
        agent::NodeAgent,
        authority::Authority,
        eventually, get, is_ready, kubectl, kubectl_with,
        leader::{metrics, value},
        on, pair, pods,
        process::Process,
        ready,
    },
    deploy,
};
use serde_json::json;

/// From `kubectl apply` to agents that are ready and the first tolls, as the project promises it.
const PROMISE: Duration = Duration::from_secs(60);

/// `linux/capability.h`: SYS_PTRACE and SYS_ADMIN, as `docs/security.md` has them for `minimal`.
const FEW: u64 = 1 << 19 | 1 << 21;
/// For an answer to an annotation, on a machine that is busy with something else.
const ANSWER: Duration = Duration::from_secs(45);

/// The folder of an overlay.
fn overlay(name: &str) -> Result<String> {
    let folder = deploy::folder().join("overlays").join(name);
    let text = folder.to_str().context("a folder without a name")?;
    Ok(text.to_owned())
}

/// The overlay `minimal`, until this is dropped.
struct Minimal;

impl Minimal {
    fn apply() -> Result<Self> {
        let this = Self;
        let all = kubectl(&["kustomize", &overlay("minimal")?])?;
        // As `overlays/kit` has it: this cluster does not know policy/v1.
        let known: Vec<_> = all
            .split("\n---\n")
            .filter(|object| !object.contains("kind: PodDisruptionBudget"))
            .collect();
        kubectl_with(&["apply", "-f", "-"], &known.join("\n---\n"))?;
        Ok(this)
    }
}

impl Drop for Minimal {
    fn drop(&mut self) {
        let restored = overlay("kit").and_then(|kit| kubectl(&["apply", "-k", &kit]));
        if let Err(error) = restored {
            eprintln!("the agents stay without privileges: {error:#}");
        }
    }
}

#[test]
fn a_few_privileges_are_enough_for_tests() -> Result<()> {
    let (space, _) = pair("nettoll-test-minimal")?;
    let before = pods("agent")?;
    let _minimal = Minimal::apply()?;
    // One node's agent after the other's.
    let agents = eventually(2 * PROMISE, || {
        is_ready()?;
        let agents = pods("agent")?;
        let old = |uid: &String| before.iter().any(|pod| pod.uid == *uid);
        ensure!(agents.iter().all(|pod| !old(&pod.uid)), "not all are new");
        Ok(agents)
    })?;
    let authority = Authority::of_cluster()?;
    for pod in &agents {
        let process = Process::of(&pod.uid, "nettoll-agent")?;
        let bounding = u64::from_str_radix(&process.status()?["CapBnd"], 16)?;
        assert_eq!(bounding, FEW, "{bounding:x}");
        let threads = process.threads()?;
        let orders = threads.iter().find(|one| one.name() == "nettoll-orders");
        let orders = orders.context("no privileged thread")?;
        assert_eq!(orders.capabilities("CapEff")?, FEW);
        let agent = NodeAgent::of(pod, &authority)?;
        let (status, body) = agent.page("/readyz")?;
        assert!(
            status == 200 && body.starts_with("ok, without the probe: "),
            "{status} {body}"
        );
        let (_, page) = agent.page("/metrics")?;
        assert!(page.contains("reason=\"switched_off\""), "{page}");
    }
    // From inside the pods' own namespaces, which takes both of the capabilities.
    space.annotate(
        "one",
        &json!({
            "nettoll.dev/pair": format!("pod/{}/two", space.name()),
            "nettoll.dev/tests": "tcp_rr",
            "nettoll.dev/seconds": "1",
        }),
    )?;
    let (status, pod) = space.answered("one", ANSWER)?;
    assert_eq!(status, "done", "{:?}", space.events("one")?);
    let result = pod.annotation("nettoll.dev/result").context("no result")?;
    let result: serde_json::Value = serde_json::from_str(result)?;
    assert!(result[0]["value"].as_f64() > Some(0.0), "{result}");
    // And the mesh has what needs no probe.
    eventually(PROMISE, || {
        for node in ["n1", "n2"] {
            let from = format!("from_node=\"{node}\"");
            let parts = ["path=\"pod-to-pod\"", &from];
            ensure!(value(&metrics()?, "nettoll_up", &parts)? == 1.0, "{node}");
        }
        Ok(())
    })
}

#[test]
fn a_minute_from_nothing_to_the_first_tolls() -> Result<()> {
    let overlay = &overlay("kit")?;
    ready()?;
    let agent = Process::of(&on("agent", "n1")?.uid, "nettoll-agent")?;
    kubectl(&["delete", "--ignore-not-found", "-k", overlay])?;
    assert!(!agent.lives(), "the agent is still there");
    for object in [
        ["namespace", NAMESPACE],
        ["clusterrole", "nettoll-controller"],
        ["clusterrolebinding", "nettoll-controller"],
    ] {
        assert!(get(&object).is_err(), "{object:?} is still there");
    }

    let begin = Instant::now();
    kubectl(&["apply", "-k", overlay])?;
    eventually(PROMISE, is_ready)?;
    println!("ready after {:?}", begin.elapsed());
    eventually(PROMISE.saturating_sub(begin.elapsed()), || {
        let text = metrics()?;
        for node in ["n1", "n2"] {
            let from = format!("from_node=\"{node}\"");
            let parts = ["path=\"pod-to-pod\"", "metric=\"rtt_mean\"", &from];
            let toll = value(&text, "nettoll_toll_ratio", &parts)?;
            ensure!(toll > 0.0, "{node}: {toll}");
        }
        Ok(())
    })?;
    println!("the first tolls after {:?}", begin.elapsed());
    for pod in [pods("agent")?, pods("controller")?].concat() {
        assert_eq!(pod.restarts(), 0, "{}", pod.name);
    }
    Ok(())
}
