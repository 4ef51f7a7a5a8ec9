//! What breaks while tests run. Nothing hangs, nothing is invented, and everything is back
//! without a hand.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_tests::cluster::{
    NAMESPACE, Space, eventually,
    fault::{CutLink, StoppedApi, kill},
    get, kubectl, pair, pods,
    process::Process,
    ready,
};
use serde_json::json;

/// For everything to be back after a fault is over.
const BACK: Duration = Duration::from_secs(30);
/// For an answer, whatever happens: a test, its second chance, a new leader.
const PATIENCE: Duration = Duration::from_secs(90);
/// For a short test without a fault.
const PROMPT: Duration = Duration::from_secs(15);

/// Asks for a test of so many seconds.
fn ask(space: &Space, seconds: u32, run: &str) -> Result<()> {
    space.annotate(
        "one",
        &json!({
            "nettoll.dev/pair": format!("pod/{}/two", space.name()),
            "nettoll.dev/tests": "tcp_rr",
            "nettoll.dev/seconds": seconds.to_string(),
            "nettoll.dev/run": run,
        }),
    )
}

/// Waits until the request runs, and a little longer.
fn runs(space: &Space) -> Result<()> {
    eventually(PROMPT, || {
        let pod = space.pod("one")?;
        let status = pod.annotation("nettoll.dev/status");
        ensure!(status == Some("running"), "{status:?}");
        Ok(())
    })?;
    sleep(Duration::from_secs(1));
    Ok(())
}

/// Waits for the answer to what was asked, and says how it ended.
fn ends(space: &Space) -> Result<String> {
    let begin = Instant::now();
    let (status, _) = space.answered("one", PATIENCE)?;
    let events = space.events("one")?;
    println!("{status} after {:?}: {events:?}", begin.elapsed());
    let word = match &*status {
        "done" => "NettollDone: ",
        _ => "NettollFailed: ",
    };
    // The Event comes right after the annotation.
    eventually(PROMPT, || {
        let told = space.events("one")?;
        ensure!(told.iter().any(|event| event.starts_with(word)), "{told:?}");
        Ok(())
    })?;
    Ok(status)
}

/// A new request is answered well, in time.
fn works_again(space: &Space, run: &str) -> Result<()> {
    let before = space.pod("one")?;
    let before = before.annotation("nettoll.dev/observed");
    let begin = Instant::now();
    ask(space, 1, run)?;
    eventually(BACK + PROMPT, || {
        let (status, pod) = space.answered("one", PROMPT)?;
        let observed = pod.annotation("nettoll.dev/observed");
        ensure!(observed != before, "not taken up");
        ensure!(status == "done", "{status}: {:?}", space.events("one")?);
        Ok(())
    })?;
    println!("works again after {:?}", begin.elapsed());
    Ok(())
}

#[test]
fn an_agent_is_killed_in_a_run() -> Result<()> {
    let (space, _) = pair("nettoll-fault-agent")?;
    ask(&space, 10, "first")?;
    runs(&space)?;
    let agent = pods("agent")?.into_iter().find(|pod| pod.node == "n2");
    let agent = agent.context("no agent on n2")?;
    kill(&Process::of(&agent.uid, "nettoll-agent")?)?;
    ends(&space)?;
    eventually(BACK, ready)?;
    works_again(&space, "second")
}

/// The pod that leads.
fn leader() -> Result<String> {
    let lease = get(&["lease", "-n", NAMESPACE, "nettoll-controller"])?;
    let holder = lease["spec"]["holderIdentity"].as_str();
    let holder = holder.filter(|holder| !holder.is_empty());
    Ok(holder.context("nobody leads")?.to_owned())
}

#[test]
fn the_leader_is_killed_in_a_run() -> Result<()> {
    let (space, _) = pair("nettoll-fault-leader")?;
    ask(&space, 10, "first")?;
    runs(&space)?;
    let old = leader()?;
    let pod = pods("controller")?.into_iter().find(|pod| pod.name == old);
    let pod = pod.context("the leader is no pod")?;
    kill(&Process::of(&pod.uid, "nettoll-control")?)?;
    let status = ends(&space)?;
    assert_eq!(status, "done", "the next leader takes it up");
    leader()?;
    works_again(&space, "second")
}

#[test]
fn the_leader_is_asked_to_go_in_a_run() -> Result<()> {
    let (space, _) = pair("nettoll-fault-change")?;
    ask(&space, 10, "first")?;
    runs(&space)?;
    let old = leader()?;
    kubectl(&["delete", "pod", "-n", NAMESPACE, &old, "--wait=false"])?;
    // It gives the lease back, so the next one need not wait for it to expire.
    eventually(Duration::from_secs(12), || {
        ensure!(leader()? != old, "the old one leads");
        Ok(())
    })?;
    assert_eq!(ends(&space)?, "done");
    works_again(&space, "second")
}

#[test]
fn the_api_server_is_away_for_half_a_minute() -> Result<()> {
    let (space, _) = pair("nettoll-fault-api")?;
    ask(&space, 3, "first")?;
    runs(&space)?;
    let stopped = StoppedApi::new()?;
    sleep(Duration::from_secs(30));
    drop(stopped);
    let begin = Instant::now();
    eventually(PROMPT, || kubectl(&["get", "nodes"]).map(drop))?;
    ends(&space)?;
    eventually(BACK, ready)?;
    println!("ready after {:?}", begin.elapsed());
    works_again(&space, "second")
}

#[test]
fn the_link_between_the_nodes_is_cut_and_mended() -> Result<()> {
    let (space, _) = pair("nettoll-fault-link")?;
    ask(&space, 10, "first")?;
    runs(&space)?;
    let cut = CutLink::new("n2")?;
    sleep(Duration::from_secs(10));
    drop(cut);
    ends(&space)?;
    works_again(&space, "second")
}

#[test]
fn the_other_pod_is_deleted_halfway() -> Result<()> {
    let (space, _) = pair("nettoll-fault-pod")?;
    ask(&space, 10, "first")?;
    runs(&space)?;
    kubectl(&["delete", "pod", "-n", space.name(), "two", "--wait=false"])?;
    let begin = Instant::now();
    assert_eq!(ends(&space)?, "failed");
    assert!(begin.elapsed() < PROMPT, "{:?}", begin.elapsed());
    let events = space.events("one")?.join("\n");
    assert!(
        events.contains("pod/nettoll-fault-pod/two was deleted"),
        "{events}"
    );
    eventually(PATIENCE, || {
        ensure!(space.pod("two").is_err(), "two is still there");
        Ok(())
    })?;
    space.start("two", "n2")?;
    space.ready("two")?;
    works_again(&space, "second")
}

#[test]
fn the_asking_pod_is_deleted_halfway() -> Result<()> {
    let (space, _) = pair("nettoll-fault-asker")?;
    ask(&space, 10, "first")?;
    runs(&space)?;
    kubectl(&["delete", "pod", "-n", space.name(), "one", "--wait=false"])?;
    eventually(PROMPT, || {
        let told = space.events("one")?;
        let gone = told.iter().any(|event| event.contains("was deleted"));
        ensure!(gone, "{told:?}");
        Ok(())
    })?;
    eventually(PATIENCE, || {
        ensure!(space.pod("one").is_err(), "one is still there");
        Ok(())
    })?;
    // A pod of the same name is another pod: nothing of the old one is told to it.
    space.start("one", "n1")?;
    let one = space.ready("one")?;
    assert_eq!(one.annotation("nettoll.dev/status"), None);
    works_again(&space, "second")
}
