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
const SECONDS: u32 = 15;
/// What is counted together: samples of one time are not independent. A CPU that waits for a
/// lock, or that the hypervisor took, waits for several ticks.
const BLOCK: Duration = Duration::from_millis(500);

/// What is compared of one block: functions by themselves (innermost), and with all that they
/// call.
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

/// `perf script` prints a paragraph a sample: a line `THREAD SECONDS:`, then a line
/// `ADDRESS NAME` for each frame, innermost first; none in user space.
fn perfs(file: &str) -> Vec<Profile> {
    let arguments = ["script", "-i", file, "-F", "comm,time,ip,sym"];
    let output = Command::new("perf").args(arguments).output().unwrap();
    let mut blocks = BTreeMap::<u64, Profile>::new();
    for sample in String::from_utf8(output.stdout).unwrap().split("\n\n") {
        let mut lines = sample.lines().filter(|line| !line.is_empty());
        let Some(first) = lines.next() else { continue };
        let (thread, time) = first.trim().rsplit_once(' ').unwrap();
        let time: f64 = time.trim_end_matches(':').parse().unwrap();
        let block = blocks
            .entry((time / BLOCK.as_secs_f64()) as u64)
            .or_default();
        let name = |line: &str| line.trim().split_once(' ').unwrap().1.trim().to_owned();
        let frames: Vec<_> = lines.map(name).collect();
        let frames: Vec<_> = frames.into_iter().rev().collect();
        block.add(thread.trim(), &frames, 1);
    }
    blocks.into_values().collect()
}

#[test]
fn perf_sees_the_same_shares() {
    let mut profiler = Profiler::load(&Kallsyms::open()).unwrap();
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
    let mut rounds = Vec::new();
    let mut lost = BTreeMap::<String, u64>::new();
    let status = loop {
        profiler.begin(1, HZ).unwrap();
        thread::sleep(BLOCK);
        profiler.end();
        let stacks = profiler.take(1).unwrap();
        for (reason, count) in &stacks.lost {
            *lost.entry(reason.clone()).or_default() += count;
        }
        rounds.push(ours(&stacks));
        if let Some(status) = perf.try_wait().unwrap() {
            break status;
        }
    };
    drop(bed);
    assert!(status.success());
    let perfs = perfs(file);
    std::fs::remove_file(file).unwrap();
    let samples = |blocks: &[Profile]| blocks.iter().map(|block| block.samples).sum::<u64>();
    println!(
        "{} samples in {} blocks, perf {} in {}; lost {lost:?}",
        samples(&rounds),
        rounds.len(),
        samples(&perfs),
        perfs.len()
    );
    assert!(samples(&rounds) > 1_000, "{}", samples(&rounds));

    let mut worst: f64 = 0.0;
    let mut compare = |what: &str, name: &str, part: &dyn Fn(&Profile) -> u64| {
        let (one, other) = (Share::of(&rounds, part), Share::of(&perfs, part));
        let deviation = one.deviation(other);
        let (one, other) = (100.0 * one.share, 100.0 * other.share);
        println!("{what} {name:32} {one:6.2} % perf {other:6.2} % {deviation:+5.1} sigma");
        worst = worst.max(deviation.abs());
    };
    compare("    ", "user space", &|block| block.user);
    type Counts = fn(&Profile) -> &BTreeMap<String, u64>;
    let kinds: [(&str, Counts); 2] = [
        ("own  ", |block| &block.own),
        ("whole", |block| &block.whole),
    ];
    for (what, counts) in kinds {
        let mut all = BTreeMap::<&String, u64>::new();
        for (name, samples) in rounds.iter().chain(&perfs).flat_map(counts) {
            *all.entry(name).or_default() += samples;
        }
        let mut names: Vec<_> = all.into_iter().collect();
        names.sort_by_key(|&(_, samples)| std::cmp::Reverse(samples));
        for (name, _) in names.into_iter().take(25) {
            compare(what, name, &|block| {
                counts(block).get(name).copied().unwrap_or(0)
            });
        }
    }
    // Of 51 independent comparisons one in a thousand is beyond 4.8 by Welch's t of some 20 and
    // 30 blocks.
    assert!(worst < 5.0, "{worst:.1}");
}

/// A function's share of the samples, and its standard error.
#[derive(Clone, Copy)]
struct Share {
    share: f64,
    error: f64,
}

impl Share {
    /// The ratio estimator over blocks (Cochran, Sampling Techniques, 3rd ed., 6.4), with at
    /// least the error of independent samples.
    fn of(blocks: &[Profile], part: &dyn Fn(&Profile) -> u64) -> Self {
        let whole: f64 = blocks.iter().map(|block| block.samples as f64).sum();
        let share = blocks.iter().map(|block| part(block) as f64).sum::<f64>() / whole;
        let squares: f64 = blocks
            .iter()
            .map(|block| (part(block) as f64 - share * block.samples as f64).powi(2))
            .sum();
        let count = blocks.len() as f64;
        let between = squares * count / (count - 1.0) / whole.powi(2);
        // One sample more, so that what one side alone saw once has an error too.
        let binomial = (share + 1.0 / whole) * (1.0 - share) / whole;
        Self {
            share,
            error: between.max(binomial).sqrt(),
        }
    }

    /// The difference of two shares in units of its standard error.
    fn deviation(self, other: Self) -> f64 {
        (self.share - other.share) / self.error.hypot(other.error)
    }
}
