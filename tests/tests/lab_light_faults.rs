//! Light rounds when something is wrong: packets dropped, held and late, a link that is cut and
//! mended, a pod that goes away.

use std::{
    process::Command,
    sync::atomic::Ordering,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::api::{LightPlan, LightResults, LightRound};
use nettoll_lab::Underlay;
use nettoll_tests::{
    forwarder::Forwarder,
    mesh::{HOST, Mesh, PATIENCE, POD, over_tcp, plan, whole},
};

/// A frame of the overlay beside the pods' packet: Ethernet, IPv4, UDP, VXLAN, Ethernet.
const ETHERNET_VXLAN: u64 = 14 + 20 + 8 + 8 + 14;

/// Runs a command in a namespace of the lab.
fn inside(netns: &str, command: &[&str]) -> Result<()> {
    let status = Command::new("ip")
        .args(["netns", "exec", netns])
        .args(command)
        .status()?;
    ensure!(status.success(), "{command:?} in {netns}: {status}");
    Ok(())
}

#[test]
fn what_cannot_be_made_fails_alone_and_says_why() -> Result<()> {
    let mut mesh = Mesh::up()?;
    let mut planned = plan(&mesh, "gone");
    planned.edges[1].from.pod_uid = Some("0a1b2c3d-1111-2222-3333-444455556666".to_owned());
    mesh.put(&planned)?;
    let failed = mesh.until(POD, |round| round.failed.is_some())?;
    assert_eq!(
        (failed.sent, failed.lost),
        (0, 0),
        "nothing was sent, so nothing was lost"
    );
    let why = failed.failed.context("no reason")?;
    assert!(why.contains("0a1b2c3d"), "{why}");
    mesh.until(HOST, whole)?;
    Ok(())
}

#[test]
fn a_pod_that_goes_away_ends_its_own_rounds_alone() -> Result<()> {
    let mut mesh = Mesh::up()?;
    mesh.put(&plan(&mesh, "restart"))?;
    mesh.until(POD, whole)?;
    let (first, second) = mesh.nodes();
    let (asks, answers) = (first.pods[0].netns(), second.pods[0].netns());
    for netns in [&asks, &answers] {
        let status = Command::new("ip").args(["netns", "del", netns]).status()?;
        ensure!(status.success(), "cannot delete {netns}: {status}");
    }
    let gone = mesh.until(POD, |round| round.failed.is_some())?;
    println!("{:?}", gone.failed);
    let host = mesh.until(HOST, |_| true)?;
    assert!(whole(&host), "{host:?}");
    let begin = Instant::now();
    loop {
        let results: LightResults = mesh.second.ask("GET", "/v1/light", &())?;
        let failed: Vec<_> = results
            .responders
            .iter()
            .filter_map(|state| state.failed.as_ref())
            .collect();
        match failed.as_slice() {
            [why] => {
                println!("{why}");
                assert!(why.contains(&answers), "{why}");
                return Ok(());
            }
            more => ensure!(
                more.is_empty() && begin.elapsed() < PATIENCE,
                "responders: {:?}",
                results.responders
            ),
        }
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_dropped_request_is_lost_and_never_fast() -> Result<()> {
    let mut mesh = Mesh::over(Underlay::Tap)?;
    let forwarder = Forwarder::start(&mesh.lab)?;
    mesh.put(&plan(&mesh, "drops"))?;
    mesh.until(HOST, whole)?;
    let quiet = mesh.until(POD, whole)?;
    forwarder.request.drop_every.store(4, Ordering::Relaxed);
    let lossy = mesh.until(POD, |round| round.lost == 5)?;
    assert_eq!((lossy.sent, lossy.answered), (20, 15));
    assert_eq!((lossy.rtt.count, &lossy.failed), (15, &None));
    // What is lost has no latency, and what is not is as it was: neither zero nor the timeout.
    let fastest = |round: &LightRound| round.rtt.histogram.first().map_or(0, |(bound, _)| *bound);
    assert!(fastest(&lossy) * 3 > fastest(&quiet), "{lossy:?} {quiet:?}");
    assert!(lossy.rtt.max_ns < 400_000_000, "{lossy:?}");
    let host = mesh.until(HOST, |_| true)?;
    assert!(whole(&host), "the other edge does not notice: {host:?}");
    forwarder.request.drop_every.store(0, Ordering::Relaxed);
    mesh.until(POD, whole)?;
    Ok(())
}

#[test]
fn a_path_that_swallows_large_packets_is_found() -> Result<()> {
    let mut mesh = Mesh::over(Underlay::Tap)?;
    let forwarder = Forwarder::start(&mesh.lab)?;
    // One byte less than the pods' devices claim, and nobody is told.
    let claimed = u64::from(mesh.lab.plan().pod_mtu());
    (forwarder.request.drop_above).store(ETHERNET_VXLAN + claimed - 1, Ordering::Relaxed);
    mesh.put(&plan(&mesh, "swallows"))?;
    let pod = mesh.path_mtu(POD)?;
    println!("{pod:?}");
    assert_eq!((u64::from(pod.bytes), pod.ok), (claimed, false));
    assert_eq!(pod.refused, None, "the kernel knows nothing of it");
    assert_eq!(forwarder.request.dropped.load(Ordering::Relaxed), 6);
    let small = mesh.until(POD, |_| true)?;
    assert!(whole(&small), "small packets come through: {small:?}");
    assert!(mesh.path_mtu(HOST)?.ok);
    Ok(())
}

#[test]
fn a_queue_is_seen_from_outside_and_late_answers_are_nobodys() -> Result<()> {
    let mut mesh = Mesh::over(Underlay::Tap)?;
    let forwarder = Forwarder::start(&mesh.lab)?;
    mesh.put(&plan(&mesh, "queue"))?;
    mesh.until(POD, whole)?;
    // One packet in 25 ms where one comes every 10 ms: the last of 20 waits for some 300 ms. A
    // closed loop would see 25 ms.
    forwarder
        .request
        .hold_ns
        .store(25_000_000, Ordering::Relaxed);
    let queued = mesh.until(POD, |round| whole(round) && round.rtt.max_ns > 200_000_000)?;
    println!("mean {} ms", queued.rtt.sum_ns / 20_000_000);
    assert!(queued.rtt.sum_ns / 20 > 100_000_000, "{queued:?}");
    // Now the later half comes back after its time, and partly in the next round.
    forwarder
        .request
        .hold_ns
        .store(70_000_000, Ordering::Relaxed);
    let late = mesh.until(POD, |round| round.lost > 5)?;
    assert_eq!(late.answered + late.lost, 20);
    assert!(late.rtt.max_ns <= 500_000_000, "{late:?}");
    forwarder.request.hold_ns.store(0, Ordering::Relaxed);
    let back = mesh.until(POD, whole)?;
    assert!(back.rtt.max_ns < 400_000_000, "{back:?}");
    Ok(())
}

/// Cuts the second node's link once all of the plan's edges are answered. Its network namespace.
fn cut(mesh: &mut Mesh, change: fn(LightPlan) -> LightPlan) -> Result<String> {
    mesh.put(&change(plan(mesh, "cut")))?;
    mesh.until(HOST, whole)?;
    mesh.until(POD, whole)?;
    let (_, second) = mesh.nodes();
    let netns = second.netns();
    inside(&netns, &["ip", "link", "set", "eth0", "down"])?;
    Ok(netns)
}

#[test]
fn a_cut_link_is_seen_and_its_mending_too() -> Result<()> {
    let mut mesh = Mesh::up()?;
    let netns = cut(&mut mesh, |plan| plan)?;
    for id in [HOST, POD] {
        let dead = mesh.until(id, |round| round.answered == 0)?;
        assert_eq!((dead.sent, dead.lost), (20, 20), "{dead:?}");
        assert_eq!((dead.rtt.count, &dead.failed), (0, &None));
    }
    inside(&netns, &["ip", "link", "set", "eth0", "up"])?;
    mesh.until(HOST, whole)?;
    mesh.until(POD, whole)?;
    Ok(())
}

/// A connection that is cut off is not waited for: the first round after the mending has a new one.
#[test]
fn over_tcp_a_cut_link_is_seen_and_its_mending_at_once() -> Result<()> {
    let mut mesh = Mesh::up()?;
    let netns = cut(&mut mesh, over_tcp)?;
    for id in [HOST, POD] {
        let dead = mesh.until(id, |round| round.answered == 0)?;
        assert_eq!((dead.sent, dead.lost, dead.rtt.count), (20, 20, 0));
        assert_eq!(dead.failed, None);
        println!("{id}: {:?}", dead.refused);
    }
    // By now it is no connection of a round that began before.
    let dead = mesh.until(POD, |_| true)?;
    let why = dead.refused.context("no reason")?;
    assert!(why.contains("no connection"), "{why}");
    inside(&netns, &["ip", "link", "set", "eth0", "up"])?;
    mesh.rounds()?;
    for id in [HOST, POD] {
        // That which was under way, and the next one.
        mesh.until(id, |_| true)?;
        let next = mesh.until(id, |_| true)?;
        assert!(whole(&next), "{next:?}");
    }
    Ok(())
}

/// What a segment loses TCP sends again: it is late, and lost only after the time of a request.
#[test]
fn over_tcp_a_dropped_segment_is_late() -> Result<()> {
    let mut mesh = Mesh::over(Underlay::Tap)?;
    let forwarder = Forwarder::start(&mesh.lab)?;
    let mut planned = over_tcp(plan(&mesh, "drops"));
    planned.timeout_ms = 1_000;
    planned.period_ms = 2_000;
    mesh.put(&planned)?;
    let quiet = mesh.until(POD, whole)?;
    forwarder.request.drop_every.store(7, Ordering::Relaxed);
    let slow = |round: &LightRound| round.answered > 0 && round.rtt.max_ns > 30_000_000;
    let lossy = mesh.until(POD, slow)?;
    println!("{} ns, then {lossy:?}", quiet.rtt.max_ns);
    assert_eq!((lossy.sent, lossy.answered + lossy.lost), (20, 20));
    assert_eq!((lossy.rtt.count, &lossy.failed), (lossy.answered, &None));
    assert!(lossy.rtt.max_ns <= 1_000_000_000, "{lossy:?}");
    forwarder.request.drop_every.store(0, Ordering::Relaxed);
    mesh.until(POD, whole)?;
    Ok(())
}
