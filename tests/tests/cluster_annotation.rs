//! Tests asked for by annotations on pods that know nothing of the product.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_tests::cluster::{
    NAMESPACE, Pod, Space, configuration::Configured, eventually, kubectl, leader::leader, pair,
    process::Process, ready,
};
use serde_json::{Value, json};

/// For an answer, as the project promises it.
const PROMISE: Duration = Duration::from_secs(15);
/// Part of the processor time that the hypervisor takes from a machine that is disturbed: what an
/// agent calls so in a round.
const DISTURBED: f64 = 0.05;
/// For an answer on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(45);
/// For what needs no test to run.
const REFUSAL: Duration = Duration::from_secs(10);

/// Ticks of all CPUs since the machine began: stolen by the hypervisor, and in all.
fn ticks() -> Result<[u64; 2]> {
    let stat = fs::read_to_string("/proc/stat")?;
    let words = stat.lines().next().context("no CPU")?.split_whitespace();
    // Those after the eighth are in the first two.
    let ticks = words.skip(1).take(8).map(str::parse);
    let ticks: Vec<u64> = ticks.collect::<Result<_, _>>()?;
    let stolen = ticks.last().context("no stolen time")?;
    Ok([*stolen, ticks.iter().sum()])
}

/// The part of all processor time that the hypervisor took meanwhile.
fn stolen_since([stolen, all]: [u64; 2]) -> Result<f64> {
    let now = ticks()?;
    Ok((now[0] - stolen) as f64 / (now[1] - all).max(1) as f64)
}

/// Bytes that a pod's own interface received.
fn received(pod: &Pod) -> Result<u64> {
    let devices = fs::read_to_string(Process::of(&pod.uid, "sleep")?.net("dev"))?;
    let line = devices
        .lines()
        .find_map(|line| line.trim().strip_prefix("eth0:"));
    let bytes = line.and_then(|line| line.split_whitespace().next());
    Ok(bytes.context("no eth0")?.parse()?)
}

fn results(pod: &Pod) -> Result<Vec<Value>> {
    let text = pod.annotation("nettoll.dev/result").context("no result")?;
    ensure!(text.len() <= 4096, "{} bytes of result", text.len());
    Ok(serde_json::from_str(text)?)
}

#[test]
fn two_plain_pods_are_measured() -> Result<()> {
    let (space, [one, two]) = pair("nettoll-test-pair")?;
    let before = [received(&one)?, received(&two)?];
    // While the hypervisor takes the CPUs, rounds are run again and answers come late: of three
    // answers one must be in time, each that was not disturbed, and one measurement be valid.
    let mut told = Vec::new();
    let (mut in_time, mut resolved) = (false, false);
    for run in ["1", "2", "3"] {
        let (begin, ticks) = (Instant::now(), ticks()?);
        space.annotate(
            "one",
            &json!({ "nettoll.dev/pair": "pod/nettoll-test-pair/two", "nettoll.dev/run": run }),
        )?;
        let (status, pod) = eventually(PATIENCE, || {
            let (status, pod) = space.answered("one", PATIENCE)?;
            let all = results(&pod)?;
            ensure!(
                all.iter().all(|one| !told.contains(&one["run_id"])),
                "not taken up yet"
            );
            Ok((status, pod))
        })?;
        let took = begin.elapsed();
        let events = space.events("one")?;
        assert_eq!(status, "done", "{events:?}");
        println!("answered after {took:?}: {:?}", events.last());
        let stolen = stolen_since(ticks)?;
        ensure!(
            took < PROMISE || stolen > DISTURBED,
            "an answer after {took:?}, with {stolen} of the processor time stolen"
        );
        in_time |= took < PROMISE;

        let all = results(&pod)?;
        let names: Vec<_> = all.iter().map(|one| one["test"].clone()).collect();
        assert_eq!(names, ["tcp_rr", "tcp_stream"]);
        for result in &all {
            assert!(result["value"].as_f64() > Some(0.0), "{result}");
            assert!(result["unit"].is_string() && result["run_id"].is_string());
            resolved |= result["valid"] == true
                && result["toll"].is_number()
                && result["ci95"].as_array().map(Vec::len) == Some(2);
            told.push(result["run_id"].clone());
        }
        if in_time && resolved {
            break;
        }
    }
    assert!(in_time, "no answer within {PROMISE:?}");
    assert!(resolved, "no valid result with its toll");
    // The traffic began inside the one pod's namespace and ended inside the other's.
    assert!(received(&one)? - before[0] > 100_000);
    assert!(received(&two)? - before[1] > 10_000_000);

    let described = kubectl(&["describe", "pod", "-n", space.name(), "one"])?;
    for words in ["NettollDone", "nettoll-controller", "tcp_rr"] {
        assert!(described.contains(words), "{words}\n{described}");
    }
    let (old, new) = (&two.object["metadata"], &space.pod("two")?.object);
    assert_eq!(
        old["annotations"], new["metadata"]["annotations"],
        "another pod"
    );
    Ok(())
}

#[test]
fn another_value_runs_again_and_the_same_one_does_not() -> Result<()> {
    let (space, _) = pair("nettoll-test-again")?;
    let to = "pod/nettoll-test-again/two";
    let ask = |run: &str| {
        json!({
            "nettoll.dev/pair": to,
            "nettoll.dev/tests": "udp_rr",
            "nettoll.dev/seconds": "1",
            "nettoll.dev/run": run,
        })
    };
    let done = |before: Option<&str>| {
        eventually(PATIENCE, || {
            let (status, pod) = space.answered("one", PATIENCE)?;
            ensure!(status == "done", "{status}");
            let observed = pod.annotation("nettoll.dev/observed");
            ensure!(observed != before, "not taken up yet");
            let observed = observed.context("no hash")?.to_owned();
            Ok((observed, results(&pod)?))
        })
    };
    space.annotate("one", &ask("first"))?;
    let (first, old) = done(None)?;
    space.annotate("one", &ask("second"))?;
    let (second, new) = done(Some(&first))?;
    assert_ne!(old[0]["run_id"], new[0]["run_id"]);
    space.annotate("one", &ask("second"))?;
    std::thread::sleep(Duration::from_secs(4));
    let same = space.pod("one")?;
    assert_eq!(same.annotation("nettoll.dev/observed"), Some(&*second));
    assert_eq!(results(&same)?, new);
    Ok(())
}

#[test]
fn what_is_wrong_or_not_allowed_is_refused_in_words() -> Result<()> {
    let (space, _) = pair("nettoll-test-refused")?;
    let closed = Space::new("nettoll-test-closed", false)?;
    closed.start("shut", "n1")?;
    closed.ready("shut")?;
    let to = |to: &str| json!({ "nettoll.dev/pair": to });
    let good = "pod/nettoll-test-refused/two";
    for (annotations, says) in [
        (
            to("pod/nettoll-test-closed/shut"),
            "does not allow tests".to_owned(),
        ),
        // Nobody learns what is there in a namespace that did not opt in.
        (
            to("pod/nettoll-test-closed/absent"),
            "does not allow tests".to_owned(),
        ),
        (to("node/n2"), "on_demand.allow_nodes".to_owned()),
        (
            to("url/https://198.19.128.1/"),
            "on_demand.allow_urls".to_owned(),
        ),
        (to("pod/../../etc/passwd"), "no endpoint".to_owned()),
        (to("pod/a\u{7}b/c"), "control character".to_owned()),
        (to(&"x".repeat(100_000)), "has 100000 bytes".to_owned()),
        (
            json!({ "nettoll.dev/pair": good, "nettoll.dev/tests": "ping" }),
            "is no test".to_owned(),
        ),
        (
            json!({ "nettoll.dev/pair": good, "nettoll.dev/tests": null, "nettoll.dev/seconds": "86400" }),
            "whole seconds from 1 to 60".to_owned(),
        ),
    ] {
        eventually(REFUSAL, || {
            space.annotate("one", &annotations)?;
            let (status, _) = space.answered("one", REFUSAL)?;
            let events = space.events("one")?;
            let told = events
                .iter()
                .any(|event| event.starts_with("NettollRefused: ") && event.contains(&says));
            ensure!(status == "refused" && told, "{says}: {status}, {events:?}");
            Ok(())
        })?;
    }
    // More than an API server takes does not even come here.
    assert!(
        space
            .annotate("one", &to(&"x".repeat(100_000).repeat(3)))
            .is_err()
    );
    closed.annotate("shut", &to(good))?;
    let (status, _) = closed.answered("shut", REFUSAL)?;
    assert_eq!(status, "refused");
    let two = space.pod("two")?;
    assert_eq!(two.annotation("nettoll.dev/status"), None);
    assert!(space.events("two")?.is_empty());
    Ok(())
}

/// The limits of a namespace are of the cluster and not of the controller that leads.
#[test]
fn a_change_of_leader_gives_nobody_more_tests() -> Result<()> {
    const FEW: &str = "[on_demand]\ntests_per_hour = 1\n";
    let (space, _) = pair("nettoll-test-limit")?;
    let ask = |run: &str| -> Result<(String, String)> {
        let annotations = json!({
            "nettoll.dev/pair": "pod/nettoll-test-limit/two",
            "nettoll.dev/tests": "udp_rr",
            "nettoll.dev/seconds": "1",
            "nettoll.dev/run": run,
        });
        let before = space.pod("one")?;
        let before = before.annotation("nettoll.dev/observed");
        space.annotate("one", &annotations)?;
        eventually(PATIENCE, || {
            let (status, pod) = space.answered("one", PATIENCE)?;
            let observed = pod.annotation("nettoll.dev/observed");
            ensure!(observed != before, "not taken up yet");
            Ok((status, space.events("one")?.join("\n")))
        })
    };
    assert_eq!(ask("the one")?.0, "done");
    let _configured = Configured::with(FEW)?;
    let mut number = 0;
    eventually(PATIENCE, || {
        number += 1;
        let (status, events) = ask(&number.to_string())?;
        let told = events.contains("NettollRefused: ")
            && events.contains("tests in the last hour, 1 are the most");
        ensure!(status == "refused" && told, "{status}: {events}");
        Ok(())
    })?;

    let old = leader()?.name;
    kubectl(&["delete", "pod", "-n", NAMESPACE, &old, "--wait=false"])?;
    eventually(PATIENCE, || {
        ensure!(leader()?.name != old, "the old one leads");
        Ok(())
    })?;
    let (status, events) = ask("by another leader")?;
    assert_eq!(status, "refused", "{events}");
    ready()
}
