//! Single requests, hop by hop: which ones are kept, and what is told of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    endpoint::PathKind,
    hop::{Direction, Event, Side},
    report::{Exemplar, ExemplarHop, Run},
};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::{
    forwarder::Forwarder,
    session::{BRIEF, PODS, Session, first, followed, requests},
};

/// How many requests a run keeps.
const KEPT: usize = 8;

fn exemplars(run: &Run) -> Result<&[Exemplar]> {
    run.exemplars.as_deref().context("no request was kept")
}

/// A waterfall in words.
fn shown(exemplar: &Exemplar) -> String {
    let line = |hop: &ExemplarHop| {
        format!(
            "{:>12} {} {} {:?} {} {} {:?}",
            hop.at_ns,
            hop.side.as_str(),
            hop.direction.as_str(),
            hop.event,
            hop.device.as_deref().unwrap_or("-"),
            hop.stage.as_deref().unwrap_or("-"),
            hop.stage_ns
        )
    };
    let lines: Vec<_> = exemplar.hops.iter().map(line).collect();
    let (sequence, rtt) = (exemplar.sequence, exemplar.rtt_ns);
    format!("request {sequence}, {rtt} ns\n{}", lines.join("\n"))
}

/// It is whole: from the client's send to its receive, forward in time, and nothing is left out.
fn check_whole(exemplar: &Exemplar) -> Result<()> {
    let hops = &exemplar.hops;
    ensure!(exemplar.joined, "the server's part is missing");
    ensure!(exemplar.lost_hops == 0, "{} hops lost", exemplar.lost_hops);
    ensure!(
        hops.is_sorted_by_key(|hop| hop.at_ns),
        "not in order of time"
    );
    let stamps = [
        (Side::Client, Direction::Request, Event::UserSend),
        (Side::Server, Direction::Request, Event::UserReceive),
        (Side::Server, Direction::Response, Event::UserSend),
        (Side::Client, Direction::Response, Event::UserReceive),
    ];
    let point = |hop: &ExemplarHop| (hop.side, hop.direction, hop.event);
    let of_threads = hops
        .iter()
        .map(point)
        .filter(|(.., event)| [Event::UserSend, Event::UserReceive].contains(event));
    ensure!(of_threads.eq(stamps), "other stamps");
    ensure!(hops.first().map(point) == Some(stamps[0]), "another start");
    ensure!(hops.last().map(point) == Some(stamps[3]), "another end");
    let sum: u64 = hops.iter().filter_map(|hop| hop.stage_ns).sum();
    ensure!(sum == exemplar.rtt_ns, "the gaps are {sum} ns");
    ensure!(hops.len() == hops.iter().filter(|hop| hop.stage.is_some()).count() + 1);
    Ok(())
}

#[test]
fn the_requests_that_were_held_are_the_slowest_and_show_where() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Tap)?;
    let forwarder = Forwarder::start(&session.lab)?;
    let lanes = [
        (&forwarder.request, Direction::Request),
        (&forwarder.response, Direction::Response),
    ];
    // Well after the warm-up, and twice as many as are kept: some may fall into the slices between
    // rounds, in which nothing is kept.
    let chosen: BTreeSet<u64> = (2_000..).step_by(100).take(2 * KEPT).collect();
    for (lane, direction) in lanes {
        lane.hold_ns.store(20_000_000, Ordering::Relaxed);
        lock(&lane.hold_only).clone_from(&chosen);
        for test in ["tcp_rr", "udp_rr"] {
            let report = session.test(&followed(PODS, test, "2"))?;
            let run = first(&report)?;
            let made = requests(run);
            ensure!(made > 5_000, "only {made} requests were made");
            let kept = exemplars(run)?;
            ensure!(kept.len() == KEPT, "{} are kept", kept.len());
            ensure!(kept.is_sorted_by(|a, b| a.rtt_ns >= b.rtt_ns));
            let held_of = lock(&lane.held_of);
            let mut truth = 0.0;
            for exemplar in kept {
                let held_ns = held_of.get(&exemplar.sequence).copied();
                let told = || format!("{test}, held {held_ns:?} ns: {}", shown(exemplar));
                truth += held_ns.context("it was not held").with_context(told)? as f64;
                check_whole(exemplar).with_context(told)?;
            }
            let told = || kept.iter().map(shown).collect::<Vec<_>>().join("\n");
            check_held(kept, direction, truth).with_context(told)?;
        }
        // With none chosen, all would be held.
        lane.hold_ns.store(0, Ordering::Relaxed);
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All of the time that they were held is in that direction's `wire`, ±5 %, and no other stage has any.
/// Of all together: one of them may really have waited elsewhere besides, for a processor that the
/// hypervisor took.
fn check_held(kept: &[Exemplar], direction: Direction, held_ns: f64) -> Result<()> {
    let mut took: BTreeMap<(Direction, &str), f64> = BTreeMap::new();
    for hop in kept.iter().flat_map(|exemplar| &exemplar.hops) {
        if let (Some(stage), Some(ns)) = (&hop.stage, hop.stage_ns) {
            *took.entry((hop.direction, stage)).or_default() += ns as f64;
        }
    }
    let on_the_wire = took.remove(&(direction, "wire")).unwrap_or_default();
    println!("{direction:?}: {on_the_wire:.0} of {held_ns:.0} ns");
    ensure!(
        (on_the_wire / held_ns - 1.0).abs() <= 0.05,
        "{on_the_wire} ns on the wire, held for {held_ns}"
    );
    let elsewhere = took.iter().find(|(_, ns)| **ns >= 0.05 * held_ns);
    ensure!(elsewhere.is_none(), "{elsewhere:?}, held for {held_ns}");
    Ok(())
}

#[test]
fn a_single_request_passes_what_all_of_them_pass() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    for path in [
        PODS,
        ["node/n1", "node/n2"],
        ["pod/lab/n1-a", "service/lab/echo"],
        ["node/n1", "service/lab/echo@n2"],
        ["pod/lab/n1-a", "node/n2"],
        ["pod/lab/n1-a", "pod/lab/n1-b"],
        ["pod/lab/n1-a", "service/lab/n1-a"],
        ["node/n1", "node/n1"],
    ] {
        for test in ["tcp_rr", "udp_rr"] {
            let report = session.packets(&[&followed(path, test, "1")[..], &BRIEF].concat())?;
            let run = first(&report)?;
            check_stages(run).with_context(|| format!("{test} {path:?}"))?;
        }
    }
    let unseen = ["--type", "tcp_rr", "--seconds", "1", "--probe", "off"];
    let ends = ["--from", PODS[0], "--to", PODS[1]];
    let report = session.test(&[&ends[..], &unseen].concat())?;
    ensure!(first(&report)?.exemplars.is_none(), "seen without a probe");
    Ok(())
}

/// How often a direction's stages are passed.
type Passed = BTreeMap<(Direction, String), usize>;

/// A hairpin's packets go by way of the bridge's own device while it confirms the pod's address (docs/paths.md).
fn by_the_bridge(run: &Run, device: Option<&str>, stage: &str) -> bool {
    run.path.kind == PathKind::Hairpin
        && device == Some("cni0")
        && ["forward", "qdisc"].contains(&stage)
}

/// The requests that were kept pass the stages that the probe counted all requests in: in other
/// maps, and in another way.
fn check_stages(run: &Run) -> Result<()> {
    let made = requests(run);
    let mut all = Passed::new();
    let mut usual = Passed::new();
    for row in run.stages.iter().flatten() {
        let key = (row.direction, row.stage.clone());
        *all.entry(key.clone()).or_default() += 1;
        let counts = !by_the_bridge(run, row.device.as_deref(), &row.stage);
        if counts && row.packets.is_some_and(|packets| packets > made / 2) {
            *usual.entry(key).or_default() += 1;
        }
    }
    let kept = exemplars(run)?;
    ensure!(kept.len() == KEPT, "{} are kept", kept.len());
    let longest = run.rtt_ns.as_ref().context("no round-trip times")?.max;
    ensure!(kept[0].rtt_ns >= longest, "{} of {longest}", kept[0].rtt_ns);
    let rounds: BTreeSet<_> = run
        .rounds
        .iter()
        .map(|round| Some(round.sequence))
        .collect();
    let mut like_all = 0;
    for exemplar in kept {
        check_whole(exemplar).with_context(|| shown(exemplar))?;
        ensure!(
            rounds.contains(&exemplar.round),
            "round {:?}",
            exemplar.round
        );
        let mut passed = Passed::new();
        for hop in &exemplar.hops {
            if let Some(stage) = &hop.stage
                && !by_the_bridge(run, hop.device.as_deref(), stage)
            {
                *passed.entry((hop.direction, stage.clone())).or_default() += 1;
            }
        }
        let known = passed.keys().all(|stage| all.contains_key(stage));
        ensure!(known, "{all:?}\n{}", shown(exemplar));
        like_all += usize::from(passed == usual);
    }
    // What is slow may have gone another way than most, but not all of it.
    ensure!(
        like_all >= KEPT / 2,
        "{like_all} pass {usual:?}\n{}",
        shown(&kept[0])
    );
    println!("{} {}: {like_all}", run.path.label(), run.test);
    Ok(())
}
