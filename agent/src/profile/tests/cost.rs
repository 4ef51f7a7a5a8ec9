//! What sampling costs a saturating stream: a bench that prints, in the form of a test.

use std::{thread, time::Duration, time::Instant};

use nettoll_core::stats::paired_ratio;

use super::{bed::Bed, *};

const HZ: u32 = 997;
const PAIRS: usize = 60;
const ROUND: Duration = Duration::from_millis(250);

#[test]
#[ignore = "needs root, the eBPF programs and iperf3; a bench: run it alone on a quiet machine"]
fn cost_of_sampling() {
    let mut profiler = Profiler::load().unwrap();
    let bed = Bed::new(PAIRS as u32 * 2 * ROUND.as_millis() as u32 / 1000 + 10);
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
