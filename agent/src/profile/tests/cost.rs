//! What sampling costs: benches that print, in the form of tests. Run them alone.

use std::{
    hint, thread,
    time::{Duration, Instant},
};

use nettoll_core::stats::{PairedRatio, paired_ratio};

use super::{bed::Bed, kernel::cpu_time, *};

const HZ: u32 = 997;
const PAIRS: usize = 60;
const ROUND: Duration = Duration::from_millis(250);

#[test]
#[ignore = "needs root, the eBPF programs and iperf3; a bench"]
fn cost_of_sampling() {
    let mut profiler = Profiler::load(&Kallsyms::open()).unwrap();
    let bed = Bed::with_stream(PAIRS as u32 * 2 * ROUND.as_millis() as u32 / 1000 + 10);
    let (mut on, mut off) = (Vec::new(), Vec::new());
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        for second in [false, true] {
            // Off and on, on and off, and so forth.
            if (pair % 2 == 0) == second {
                begins.push(timed(|| profiler.begin(1, HZ).unwrap()));
                on.push(throughput(&bed));
                ends.push(timed(|| profiler.end()));
            } else {
                off.push(throughput(&bed));
            }
        }
    }
    drop(bed);
    let started = Instant::now();
    let stacks = profiler.take(1).unwrap();
    let took = started.elapsed();
    let ratio = paired_ratio(&on, &off).unwrap();
    println!("throughput on/off {ratio:.4?}");
    println!(
        "begin {:?}, end {:?}, take {took:.1?}",
        median(begins),
        median(ends)
    );
    let samples: u64 = stacks.stacks.iter().map(|stack| stack.samples).sum();
    println!(
        "{samples} samples, {} stacks, lost {:?}",
        stacks.stacks.len(),
        stacks.lost
    );
}

/// At twenty times the rate, by the work that a thread gets done in its own CPU time: other load
/// of the machine is not in it, and a tick's cost shows above the noise.
#[test]
#[ignore = "needs root and the eBPF programs; a bench"]
fn cost_of_a_tick() {
    const FAST: u32 = 20 * HZ;
    let mut profiler = Profiler::load(&Kallsyms::open()).unwrap();
    let bed = Bed::new();
    let [one, other] = bed.sockets();
    let mut datagram = [0; 64];
    let mut send = || {
        one.send(&datagram).unwrap();
        other.recv(&mut datagram).unwrap();
    };
    let mut spin = || {
        for number in 0..1000 {
            hint::black_box(number);
        }
    };
    let loads: [(&str, &mut dyn FnMut()); 2] = [
        ("user space", &mut spin),
        ("datagrams over vxlan", &mut send),
    ];
    for (name, work) in loads {
        let (mut on, mut off) = (Vec::new(), Vec::new());
        for pair in 0..PAIRS {
            for second in [false, true] {
                if (pair % 2 == 0) == second {
                    profiler.begin(1, FAST).unwrap();
                    on.push(work_rate(work));
                    profiler.end();
                } else {
                    off.push(work_rate(work));
                }
            }
        }
        let PairedRatio {
            ratio,
            ci95: [low, high],
            ..
        } = paired_ratio(&on, &off).unwrap();
        let tick_ns = |ratio: f64| (1.0 - ratio) * 1e9 / f64::from(FAST);
        println!(
            "{name}: work on/off {ratio:.4} ({low:.4} to {high:.4}) at {FAST} Hz: a tick costs \
             {:.0} ns ({:.0} to {:.0}), {:.2} % at {HZ} Hz",
            tick_ns(ratio),
            tick_ns(high),
            tick_ns(low),
            100.0 * (1.0 - ratio) / 20.0,
        );
        println!("lost {:?}", profiler.take(1).unwrap().lost);
    }
}

/// Times that `work` was done in a second of the thread's own CPU time.
fn work_rate(work: &mut dyn FnMut()) -> f64 {
    let (started, before) = (Instant::now(), cpu_time());
    let mut times = 0;
    while started.elapsed() < ROUND {
        work();
        times += 1;
    }
    f64::from(times) / (cpu_time() - before).as_secs_f64()
}

/// Bytes a second of one round.
fn throughput(bed: &Bed) -> f64 {
    let (started, before) = (Instant::now(), bed.received_bytes());
    thread::sleep(ROUND);
    let (bytes, time) = (bed.received_bytes() - before, started.elapsed());
    bytes as f64 / time.as_secs_f64()
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
