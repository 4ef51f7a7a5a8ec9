//! Known truth put into the path, and looked for in the report. What makes packets wait is in
//! `lab_truth_waits.rs`.

use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, ensure};
use aya::programs::TcAttachType;
use nettoll_core::{
    hop::{Direction, Side},
    report::{Round, TollMetric},
};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::{
    counters::run_in,
    forwarder::Forwarder,
    session::{PODS, Session, first, followed, requests, stage},
    spinner::Spinner,
    truth::{Means, check_rises},
};

/// A classifier that spins.
struct Place {
    namespace: &'static str,
    device: &'static str,
    hook: TcAttachType,
    spin_ns: u64,
    /// Which stage has it.
    stage: &'static str,
}

/// Four stages of one way, each with a time of its own, so that none is taken for another one's. By the
/// kernel's source (net/core/dev.c):
/// - `__dev_queue_xmit` asks classifiers before it traces `net_dev_queue`: `socket_tx`;
/// - `process_backlog` takes packets in the order in which `netif_rx` put them there. The first
///   classifier has a clone of each packet received by a device that nobody looks at, before the packet
///   itself is transmitted: what the softirq does for the clone the packet waits for, in the `backlog`
///   of its own receiving device;
/// - `__netif_receive_skb_core` asks classifiers after it traced `netif_receive_skb`, and before a
///   bridge's or a protocol's receive function: `bridge` where the device is a port, `decap` where the
///   packet is for a tunnel.
const PLACES: [Place; 4] = [
    Place {
        namespace: "nettoll-n1-a",
        device: "eth0",
        hook: TcAttachType::Egress,
        spin_ns: 100_000,
        stage: "client request socket_tx eth0",
    },
    Place {
        namespace: "nettoll-n1-a",
        device: AHEAD,
        hook: TcAttachType::Ingress,
        spin_ns: 90_000,
        stage: "client request backlog vethn1-a",
    },
    Place {
        namespace: "nettoll-n1",
        device: "vethn1-a",
        hook: TcAttachType::Ingress,
        spin_ns: 80_000,
        stage: "client request bridge cni0",
    },
    Place {
        namespace: "nettoll-n2",
        device: "eth0",
        hook: TcAttachType::Ingress,
        spin_ns: 70_000,
        stage: "server request decap flannel.1",
    },
];

/// The device that clones are received by.
const AHEAD: &str = "ahead";

#[test]
fn spinning_classifiers_are_each_in_their_stage_and_nowhere_else() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    for command in ["link add ahead type bridge", "link set ahead up"] {
        let words: Vec<_> = ["ip"].into_iter().chain(command.split(' ')).collect();
        run_in("nettoll-n1-a", &words, "")?;
    }
    let attach = |place: &Place| Spinner::attach(place.namespace, place.device, place.hook);
    let mut spinners = PLACES.iter().map(attach).collect::<Result<Vec<_>>>()?;
    spinners[0].send_clones_to(AHEAD)?;
    // The clones end there.
    spinners[1].drop_every(1)?;

    let mut means = [Means::default(), Means::default()];
    let mut truth = PLACES.map(|place| (place.stage, 0.0));
    const REPEATS: usize = 2;
    for _ in 0..REPEATS {
        for (state, means) in means.iter_mut().enumerate() {
            for (spinner, place) in spinners.iter_mut().zip(&PLACES) {
                spinner.spin(place.spin_ns * state as u64)?;
                spinner.take_mean_ns()?;
            }
            let report = session.test(&followed(PODS, "path_cost", "1"))?;
            let run = first(&report)?;
            means.add(run.stages.as_deref().unwrap_or_default(), requests(run));
            for (spinner, (_, spun_ns)) in spinners.iter_mut().zip(&mut truth) {
                let (mean_ns, packets) = spinner.take_mean_ns()?;
                ensure!((packets > 0) == (state > 0), "spun for {packets} packets");
                *spun_ns += mean_ns / REPEATS as f64;
            }
        }
    }
    let [without, with] = means;
    check_rises(&without, &with, &truth)
}

#[test]
fn a_dropped_packet_is_lost_and_not_fast() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Tap)?;
    let forwarder = Forwarder::start(&session.lab)?;
    let arguments = followed(PODS, "udp_rr", "1");
    let whole = session.test(&arguments)?;
    forwarder.request.drop_every.store(200, Ordering::Relaxed);
    let before = forwarder.request.dropped.load(Ordering::Relaxed);
    // Lost packets make a run invalid: exit code 1, and a report that says why.
    let output = session.nettoll(&[&["test", "-o", "json"], &arguments[..]].concat())?;
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
