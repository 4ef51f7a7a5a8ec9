//! From a cluster without the product to its first figures.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nettoll_tests::{
    cluster::{
        NAMESPACE, eventually, get, is_ready, kubectl,
        leader::{metrics, value},
        on, pods,
        process::Process,
        ready,
    },
    deploy,
};

/// From `kubectl apply` to agents that are ready and the first tolls, as the project promises it.
const PROMISE: Duration = Duration::from_secs(60);

#[test]
fn a_minute_from_nothing_to_the_first_tolls() -> Result<()> {
    let overlay = deploy::folder().join("overlays/kit");
    let overlay = overlay.to_str().context("a folder without a name")?;
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
            let parts = ["path=\"pod-to-pod\"", "metric=\"rtt_p50\"", &from];
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
