//! Packets that wait for a known time, each kind of wait in its stage and in no other.

use std::{
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{api::RoundSpec, report::TestType};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::{
    counters::run_in,
    forwarder::Forwarder,
    pods::{Pods, round, waterfall},
    session::{PODS, Session, first, followed, requests},
    sleeper::Sleeper,
    truth::{Means, check_rises},
};

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
            let report = session.test(&followed(PODS, "udp_rr", "4"))?;
            let run = first(&report)?;
            ensure!(run.lost == Some(0), "lost {:?}", run.lost);
            means[state].add(run.stages.as_deref().unwrap_or_default(), requests(run));
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

/// How long the receiver sleeps at a time: far longer than all the round trips between two naps.
const NAP: Duration = Duration::from_millis(250);
/// How long it is awake between.
const AWAKE: Duration = Duration::from_millis(1);

/// How a receiver sleeps: for about so long, and then tells how long it did.
type Nap = fn(&Sleeper, Duration) -> Result<Duration>;

/// Puts a receiver to sleep again and again until so long from now; how long it slept, in all.
fn put_to_sleep(sleeper: &Sleeper, nap: Nap, time: Duration) -> Result<Duration> {
    let (begin, mut slept) = (Instant::now(), Duration::ZERO);
    // The round has begun.
    sleeper.wait_until_busy()?;
    while let Some(left) = time.checked_sub(begin.elapsed() + AWAKE) {
        slept += nap(sleeper, NAP.min(left))?;
        thread::sleep(AWAKE);
    }
    Ok(slept)
}

/// A round in which the server's thread sleeps so, or not at all; its stages, and how long it slept for
/// each request, in ns.
fn asleep(pods: &Pods, nap: Option<Nap>) -> Result<(Means, f64)> {
    let spec = pods.spec(TestType::UdpRr)?;
    pods.begin_run(&spec)?;
    let sleeper = Sleeper::named(pods.server.id(), "nettoll-server")?;
    let round = RoundSpec {
        seconds: 3.0,
        ..round(true)
    };
    let ((client, slept), _) = pods.between_marks(&spec.id, [&round, &round], || {
        thread::scope(|scope| {
            let run = scope.spawn(|| pods.run(&spec.id, &round));
            // The last nap ends with the round.
            let time = Duration::from_secs_f64(round.seconds);
            let slept = match nap {
                Some(nap) => put_to_sleep(&sleeper, nap, time)?,
                None => Duration::ZERO,
            };
            let client = run.join().ok().context("the run's thread panicked")??;
            Ok((client, slept))
        })
    })?;
    ensure!(client.lost == 0, "lost {}", client.lost);
    let sides = pods.finish(&spec.id)?;
    let found = waterfall(&spec, &[&sides[0], &sides[1]], client.rtt.as_ref());
    let closure = found.closure.context("no closure")?;
    println!("{} requests, closure {closure:.4}", client.transactions);
    let mut means = Means::default();
    means.add(&found.stages, client.transactions);
    pods.end_run(&spec.id)?;
    Ok((means, slept.as_nanos() as f64 / client.transactions as f64))
}

#[test]
fn what_a_receiver_sleeps_is_in_the_stage_that_it_misses_and_nowhere_else() -> Result<()> {
    let pods = Pods::up()?;
    let (without, _) = asleep(&pods, None)?;
    let naps: [(Nap, &str); 2] = [
        // A stopped thread has left its receive call for the time being, and goes on with it: it had
        // called before there were data, and does not run when they come.
        (Sleeper::stop_in_receive, "server request wakeup eth0"),
        // Data come before it calls.
        (Sleeper::hold_after_send, "server request socket_queue eth0"),
    ];
    for (nap, stage) in naps {
        let (with, asleep_ns) = asleep(&pods, Some(nap))?;
        check_rises(&without, &with, &[(stage, asleep_ns)])?;
    }
    Ok(())
}

/// What lets a frame through at a time: its rate in bits per second, and the room for one frame.
const RATE: u32 = 100_000;

/// Bytes of a request's frame as the queue counts them: Ethernet, IPv4, UDP and its 64 bytes.
const FRAME_BYTES: u32 = 14 + 20 + 8 + 64;

#[test]
fn what_waits_in_a_queue_is_in_qdisc_and_nowhere_else() -> Result<()> {
    let pods = Pods::up()?;
    let tc = |command: &str| {
        let words: Vec<_> = ["tc"].into_iter().chain(command.split(' ')).collect();
        run_in(&pods.pod(0), &words, "")
    };
    let mut means = [Means::default(), Means::default()];
    let mut round_trips_ns = [0.0; 2];
    for ((means, mean_ns), waits) in means.iter_mut().zip(&mut round_trips_ns).zip([false, true]) {
        if waits {
            tc(&format!(
                "qdisc add dev eth0 root tbf rate {RATE}bit burst 200b limit 10kb"
            ))?;
        }
        let spec = pods.spec(TestType::UdpRr)?;
        pods.begin_run(&spec)?;
        let round = RoundSpec {
            seconds: 3.0,
            ..round(true)
        };
        let (client, _) = pods.round(&spec.id, &round)?;
        ensure!(client.lost == 0, "lost {}", client.lost);
        let sides = pods.finish(&spec.id)?;
        let found = waterfall(&spec, &[&sides[0], &sides[1]], client.rtt.as_ref());
        means.add(&found.stages, client.transactions);
        let rtt = client.rtt.context("no round trips")?;
        *mean_ns = rtt.sum_ns as f64 / rtt.count as f64;
        pods.end_run(&spec.id)?;
    }
    // One after another, each request waits until there are tokens for it: a frame's time at that rate
    // is between any two, of which the rest of the round trip is a part.
    let frame_ns = f64::from(FRAME_BYTES * 8) / f64::from(RATE) * 1e9;
    let [without, with] = means;
    let queued_ns = frame_ns - round_trips_ns[0];
    check_rises(&without, &with, &[("client request qdisc eth0", queued_ns)])
}
