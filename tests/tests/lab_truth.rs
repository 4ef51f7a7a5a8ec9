//! Known truth put into the path, and looked for in the report.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    hop::{Direction, Side},
    report::{Round, Run, TollMetric},
};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::{
    forwarder::Forwarder,
    session::{Session, first, label, stage},
    spinner::Spinner,
};

const PODS: [&str; 4] = ["--from", "pod/lab/n1-a", "--to", "pod/lab/n2-a"];

/// Means of a stage's mean over several runs, in ns.
#[derive(Default)]
struct Means(BTreeMap<String, (f64, u32)>);

impl Means {
    fn add(&mut self, run: &Run) {
        for stage in run.stages.iter().flatten() {
            let (sum, count) = self.0.entry(label(stage)).or_default();
            *sum += stage.mean_ns;
            *count += 1;
        }
    }

    fn get(&self, name: &str) -> f64 {
        self.0
            .get(name)
            .map_or(f64::NAN, |(sum, count)| sum / f64::from(*count))
    }
}

/// Checks that the stages in `truth` rose by what they should, ±5 %, and no other by more than
/// 5 % of the smallest.
fn check_rises(without: &Means, with: &Means, truth: &[(&str, f64)]) -> Result<()> {
    let smallest = truth
        .iter()
        .map(|(_, rise)| *rise)
        .fold(f64::INFINITY, f64::min);
    for name in with.0.keys() {
        let rise = with.get(name) - without.get(name);
        match truth.iter().find(|(known, _)| known == name) {
            Some((_, true_rise)) => {
                println!("{name}: rose by {rise:.0} ns, in truth by {true_rise:.0}");
                ensure!(
                    (rise / true_rise - 1.0).abs() <= 0.05,
                    "{name}: {rise} of {true_rise}"
                );
            }
            None => ensure!(rise.abs() <= 0.05 * smallest, "{name} moved by {rise} ns"),
        }
    }
    for (name, _) in truth {
        ensure!(with.0.contains_key(*name), "no stage '{name}'");
    }
    Ok(())
}

#[test]
fn a_held_packet_is_on_the_wire_and_nowhere_else() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Tap)?;
    let forwarder = Forwarder::start(&session.lab)?;
    let lanes = [&forwarder.request, &forwarder.response];
    let mut means = [Means::default(), Means::default()];
    // Sums over the repeats of the mean time that a frame was held, by lane.
    let mut held_ns = [[0.0; 2]; 2];
    const REPEATS: usize = 2;
    for _ in 0..REPEATS {
        // One way longer than the other, so that no time is taken for the other way's.
        for (state, hold_ns) in [[0, 0], [2_000_000, 1_600_000]].into_iter().enumerate() {
            for (lane, hold_ns) in lanes.into_iter().zip(hold_ns) {
                lane.hold_ns.store(hold_ns, Ordering::Relaxed);
                lane.take_mean_ns();
            }
            // At 3.6 ms a round trip, 110 of them in each of the ten rounds.
            let arguments = ["--type", "udp_rr", "--seconds", "4", "--probe", "on"];
            let report = session.test(&[&PODS[..], &arguments].concat())?;
            let run = first(&report)?;
            ensure!(run.lost == Some(0), "lost {:?}", run.lost);
            means[state].add(run);
            for (held, lane) in held_ns[state].iter_mut().zip(lanes) {
                *held += lane.take_mean_ns() / REPEATS as f64;
            }
        }
    }
    let [without, with] = means;
    let truth = [
        ("client request wire eth0", held_ns[1][0] - held_ns[0][0]),
        ("server response wire eth0", held_ns[1][1] - held_ns[0][1]),
    ];
    check_rises(&without, &with, &truth)
}

#[test]
fn a_spinning_classifier_is_in_socket_tx_and_nowhere_else() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let mut spinner = Spinner::attach("nettoll-n1-a", "eth0")?;
    let mut means = [Means::default(), Means::default()];
    let mut spun_ns = [0.0; 2];
    const REPEATS: usize = 3;
    for _ in 0..REPEATS {
        for (state, spin_ns) in [0, 100_000].into_iter().enumerate() {
            spinner.spin(spin_ns)?;
            spinner.take_mean_ns()?;
            let arguments = ["--type", "path_cost", "--seconds", "1", "--probe", "on"];
            let report = session.test(&[&PODS[..], &arguments].concat())?;
            means[state].add(first(&report)?);
            let (mean, packets) = spinner.take_mean_ns()?;
            ensure!((packets > 0) == (spin_ns > 0), "spun for {packets} packets");
            spun_ns[state] += mean / REPEATS as f64;
        }
    }
    let [without, with] = means;
    check_rises(
        &without,
        &with,
        &[("client request socket_tx eth0", spun_ns[1])],
    )
}

#[test]
fn a_dropped_packet_is_lost_and_not_fast() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Tap)?;
    let forwarder = Forwarder::start(&session.lab)?;
    let arguments = ["--type", "udp_rr", "--seconds", "1", "--probe", "on"];
    let whole = session.test(&[&PODS[..], &arguments].concat())?;
    forwarder.request.drop_every.store(200, Ordering::Relaxed);
    let before = forwarder.request.dropped.load(Ordering::Relaxed);
    // Lost packets make a run invalid: exit code 1, and a report that says why.
    let output = session.nettoll(&[&["test", "-o", "json"], &PODS[..], &arguments].concat())?;
    let report = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let dropped = forwarder.request.dropped.load(Ordering::Relaxed) - before;
    let (whole, run) = (first(&whole)?, first(&report)?);
    // The probe counts in all rounds, also in those that have too few answers to be good.
    let sum = |of: fn(&Round) -> Option<u64>| run.rounds.iter().filter_map(of).sum::<u64>();
    let lost = sum(|round| round.lost);
    println!("dropped {dropped}, lost {lost}");
    // Some may be dropped in the warm-up, between no marks.
    ensure!(
        lost > 0 && lost <= dropped,
        "lost {lost}, dropped {dropped}"
    );
    let requests = sum(|round| round.transactions) + lost;

    let rtt = run.rtt_ns.as_ref().context("no round-trip times")?;
    let answered = sum(|round| {
        round
            .invalid_reason
            .is_none()
            .then_some(round.transactions?)
    });
    ensure!(
        answered == rtt.count,
        "{answered} answers, {} latencies",
        rtt.count
    );
    ensure!(
        rtt.max < 1_000_000_000,
        "a lost request became a latency of {} ns",
        rtt.max
    );
    let usual = whole.rtt_ns.as_ref().context("no round-trip times")?;
    ensure!(
        rtt.p50 > 0.5 * usual.p50,
        "p50 {} after {}",
        rtt.p50,
        usual.p50
    );

    // The probe saw them leave and not arrive.
    let packets = |side, name, device| {
        stage(run, side, Direction::Request, name, device)
            .and_then(|stage| stage.packets)
            .with_context(|| format!("no {name}"))
    };
    let left = packets(Side::Client, "encap", Some("flannel.1"))?;
    let arrived = packets(Side::Server, "decap", Some("flannel.1"))?;
    ensure!(
        left == requests,
        "{left} packets left, {requests} requests were made"
    );
    ensure!(
        arrived == requests - lost,
        "{arrived} arrived of {requests} less {lost}"
    );
    Ok(())
}

#[test]
fn a_path_against_itself_does_not_resolve() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let arguments = [
        "--from",
        "node/n1",
        "--to",
        "node/n2",
        "--against",
        "node/n1,node/n2",
        "--type",
        "tcp_rr",
        "--seconds",
        "1",
        "--probe",
        "off",
    ];
    const RUNS: u32 = 20;
    let mut resolved = 0;
    for _ in 0..RUNS {
        let report = session.test(&arguments)?;
        let toll = report
            .tolls
            .iter()
            .find(|toll| toll.path == toll.baseline && toll.metric == TollMetric::RttMean)
            .context("no toll of the path against itself")?;
        println!(
            "ratio {:.4} [{:.4}, {:.4}]",
            toll.ratio, toll.ci95[0], toll.ci95[1]
        );
        resolved += u32::from(toll.resolved);
    }
    ensure!(resolved <= 3, "{resolved} of {RUNS} A/A runs resolved");
    Ok(())
}
