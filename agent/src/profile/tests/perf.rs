//! Against perf, which shares no code with the sampler: both sample one load at one time.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::{bed::Bed, *};

const HZ: u32 = 997;
/// Unlike ours: with one rate for both, one tick would always follow the other at the same
/// distance and see what the other's interrupt had caused.
const PERFS_HZ: u32 = 983;
const SECONDS: u32 = 10;

/// What is compared: functions by themselves (innermost), and with all that they call.
#[derive(Default)]
struct Profile {
    samples: u64,
    user: u64,
    own: BTreeMap<String, u64>,
    whole: BTreeMap<String, u64>,
}

impl Profile {
    /// Threads that idle or belong to the tools themselves are left out.
    fn add(&mut self, thread: &str, outermost_first: &[String], samples: u64) {
        if thread != "iperf3" {
            return;
        }
        self.samples += samples;
        match outermost_first.last() {
            Some(own) => *self.own.entry(own.clone()).or_default() += samples,
            None => self.user += samples,
        }
        for name in outermost_first.iter().collect::<BTreeSet<_>>() {
            *self.whole.entry(name.clone()).or_default() += samples;
        }
    }
}

fn ours(stacks: &Stacks) -> Profile {
    let mut profile = Profile::default();
    for Stack {
        thread,
        frames,
        samples,
    } in &stacks.stacks
    {
        profile.add(thread, frames, *samples);
    }
    profile
}

/// `perf script` prints a paragraph a sample: the thread, then a line `ADDRESS NAME` for each
/// frame, innermost first; none in user space.
fn perfs(file: &str) -> Profile {
    let arguments = ["script", "-i", file, "-F", "comm,ip,sym"];
    let output = Command::new("perf").args(arguments).output().unwrap();
    let mut profile = Profile::default();
    for sample in String::from_utf8(output.stdout).unwrap().split("\n\n") {
        let mut lines = sample.lines().filter(|line| !line.is_empty());
        let Some(thread) = lines.next() else { continue };
        let name = |line: &str| line.trim().split_once(' ').unwrap().1.trim().to_owned();
        let frames: Vec<_> = lines.map(name).collect();
        let frames: Vec<_> = frames.into_iter().rev().collect();
        profile.add(thread.trim(), &frames, 1);
    }
    profile
}

#[test]
fn perf_sees_the_same_shares() {
    let mut profiler = Profiler::load().unwrap();
    let bed = Bed::with_stream(SECONDS + 5);
    let file = std::env::temp_dir().join(format!("t-profile-{}.data", std::process::id()));
    let file = file.to_str().unwrap();
    let record =
        format!("record -q -a -g --kernel-callchains -e cpu-clock -F {PERFS_HZ} -o {file}");
    let mut perf = Command::new("perf")
        .args(record.split(' '))
        .args(["sleep", &SECONDS.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // In rounds, as runs do.
    let status = loop {
        profiler.begin(1, HZ).unwrap();
        thread::sleep(Duration::from_millis(500));
        profiler.end();
        if let Some(status) = perf.try_wait().unwrap() {
            break status;
        }
    };
    drop(bed);
    assert!(status.success());
    let stacks = profiler.take(1).unwrap();
    let (ours, perfs) = (ours(&stacks), perfs(file));
    std::fs::remove_file(file).unwrap();
    println!(
        "{} samples, perf {}; lost {:?}",
        ours.samples, perfs.samples, stacks.lost
    );
    println!("{} distinct stacks", stacks.stacks.len());
    assert!(ours.samples > 1_000, "{}", ours.samples);

    let mut worst: f64 = 0.0;
    let mut compare = |what: &str, name: &str, our_part: u64, perfs_part: u64| {
        let deviation = deviation((our_part, ours.samples), (perfs_part, perfs.samples));
        let share = |part, whole| 100.0 * part as f64 / whole as f64;
        let (one, other) = (
            share(our_part, ours.samples),
            share(perfs_part, perfs.samples),
        );
        println!("{what} {name:32} {one:6.2} % perf {other:6.2} % {deviation:+5.1} sigma");
        worst = worst.max(deviation.abs());
    };
    compare("    ", "user space", ours.user, perfs.user);
    for (what, ours, perfs) in [
        ("own  ", &ours.own, &perfs.own),
        ("whole", &ours.whole, &perfs.whole),
    ] {
        let mut names: Vec<_> = ours.keys().chain(perfs.keys()).collect();
        names.sort();
        names.dedup();
        names.sort_by_key(|name| std::cmp::Reverse(ours.get(*name).max(perfs.get(*name))));
        for name in names.into_iter().take(25) {
            let part = |of: &BTreeMap<String, u64>| of.get(name).copied().unwrap_or(0);
            compare(what, name, part(ours), part(perfs));
        }
    }
    // Of 51 independent comparisons one in a thousand is beyond 4.2.
    assert!(worst < 4.2, "{worst:.1}");
}

/// The difference of two shares in units of its standard error.
fn deviation(one: (u64, u64), other: (u64, u64)) -> f64 {
    let share = |(part, whole): (u64, u64)| part as f64 / whole as f64;
    let pooled = share((one.0 + other.0, one.1 + other.1));
    let error = pooled * (1.0 - pooled) * (1.0 / one.1 as f64 + 1.0 / other.1 as f64);
    (share(one) - share(other)) / error.sqrt().max(f64::MIN_POSITIVE)
}
