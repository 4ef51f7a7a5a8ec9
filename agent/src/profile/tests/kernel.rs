//! Against the running kernel. Without root or the eBPF programs these tests fail; they never
//! skip.

use std::{
    fs::File,
    io::Read as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::*;

const HZ: u32 = 997;

/// A named thread that keeps a CPU busy until it is stopped, and then tells how long it ran.
struct Busy {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Busy {
    fn new(name: &str, mut work: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let body = move || {
            while !stopped.load(Ordering::Relaxed) {
                work();
            }
            cpu_time()
        };
        Self {
            stop,
            thread: thread::Builder::new()
                .name(name.to_owned())
                .spawn(body)
                .unwrap(),
        }
    }

    fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The calling thread's own.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn sample(profiler: &mut Profiler, slot: u8, seconds: f64) -> Duration {
    let started = Instant::now();
    profiler.begin(slot, HZ).unwrap();
    thread::sleep(Duration::from_secs_f64(seconds));
    profiler.end();
    started.elapsed()
}

fn samples(stacks: &Stacks, wanted: impl Fn(&Stack) -> bool) -> u64 {
    stacks
        .stacks
        .iter()
        .filter(|stack| wanted(stack))
        .map(|stack| stack.samples)
        .sum()
}

fn ratio(samples: u64, time: Duration, cpus: u32) -> f64 {
    samples as f64 / (f64::from(HZ) * f64::from(cpus) * time.as_secs_f64())
}

#[test]
fn a_busy_machine_misses_no_tick() {
    let mut profiler = Profiler::load(&Kallsyms::open()).unwrap();
    let cpus = online_cpus().unwrap();
    // Twice as many as CPUs, so that no CPU idles while threads move.
    let spin = || std::hint::spin_loop();
    let busy: Vec<_> = (0..2 * cpus.len())
        .map(|_| Busy::new("t-profile-busy", spin))
        .collect();
    let time = sample(&mut profiler, 1, 3.0);
    for busy in busy {
        busy.stop();
    }
    let stacks = profiler.take(1).unwrap();
    assert_eq!(stacks.cpus as usize, cpus.len());
    let ratio = ratio(samples(&stacks, |_| true), time, stacks.cpus);
    eprintln!("ratio {ratio:.4}, lost {:?}", stacks.lost);
    assert!((0.98..1.01).contains(&ratio), "{ratio}");
}

/// A virtual machine's host need not wake a halted CPU for its timer in time: seen with CPU 1 of
/// a small one, by perf, too. Such ticks are counted as missed, and idle time must explain them.
#[test]
fn ticks_are_missed_in_idle_alone() {
    let mut profiler = Profiler::load(&Kallsyms::open()).unwrap();
    let before = idle_seconds();
    let time = sample(&mut profiler, 1, 3.0);
    let idle = idle_seconds() - before;
    let stacks = profiler.take(1).unwrap();
    let all = samples(&stacks, |_| true) + stacks.lost.values().sum::<u64>();
    assert!(
        (0.99..1.01).contains(&ratio(all, time, stacks.cpus)),
        "{all}"
    );
    let missed = stacks.lost[MISSED] as f64 / f64::from(HZ);
    let swapper = samples(&stacks, |stack| stack.thread == "swapper") as f64 / f64::from(HZ);
    eprintln!("idle {idle:.2} s: seen {swapper:.2} s, missed {missed:.2} s");
    assert!(
        swapper + missed < 1.05 * idle + 0.1,
        "{swapper} s, {missed} s, {idle} s"
    );
    assert!(
        swapper + missed > 0.95 * idle - 0.1,
        "{swapper} s, {missed} s, {idle} s"
    );
}

/// Idle time of all CPUs since boot, which the kernel measures at entry and exit of idle.
fn idle_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    text.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn user_space_is_told_from_the_kernel() {
    let mut profiler = Profiler::load(&Kallsyms::open()).unwrap();
    let busy = Busy::new("t-profile-user", || {
        std::hint::black_box((0..100_000_u64).fold(0, |sum, n| sum ^ std::hint::black_box(n)));
    });
    sample(&mut profiler, 1, 3.0);
    let ran = busy.stop();
    let stacks = profiler.take(1).unwrap();
    let mine = |stack: &Stack| stack.thread == "t-profile-user";
    let user = samples(&stacks, |stack| mine(stack) && stack.frames.is_empty());
    let ratio = ratio(user, ran, 1);
    eprintln!("ratio {ratio:.4}, all {}", samples(&stacks, mine));
    assert!((0.95..1.02).contains(&ratio), "{ratio}");
    assert_eq!(stacks.lost["unwind"], 0);
}

#[test]
fn stacks_begin_at_the_system_call_and_end_at_the_work() {
    let mut profiler = Profiler::load(&Kallsyms::open()).unwrap();
    let mut zeros = File::open("/dev/zero").unwrap();
    let mut buffer = vec![0; 1 << 20];
    let busy = Busy::new("t-profile-read", move || {
        zeros.read_exact(&mut buffer).unwrap()
    });
    sample(&mut profiler, 1, 3.0);
    let ran = busy.stop();
    let stacks = profiler.take(1).unwrap();
    let reads = |stack: &Stack| {
        let position = |name| stack.frames.iter().position(|frame| frame == name);
        stack.thread == "t-profile-read" && position("do_syscall_64") < position("vfs_read")
    };
    let reading = samples(&stacks, reads);
    let ratio = ratio(reading, ran, 1);
    eprintln!("ratio {ratio:.4}");
    assert!((0.9..1.02).contains(&ratio), "{ratio}");
}

#[test]
fn slots_are_apart_and_empty_after_they_are_taken() {
    let mut profiler = Profiler::load(&Kallsyms::open()).unwrap();
    for _ in 0..3 {
        sample(&mut profiler, 1, 0.2);
        sample(&mut profiler, 255, 0.1);
    }
    let (one, other) = (profiler.take(1).unwrap(), profiler.take(255).unwrap());
    // An idle CPU may miss ticks, in one slot more than in the other.
    let ticks = |slot: &Stacks| (samples(slot, |_| true) + slot.lost[MISSED]) as f64;
    let ratio = ticks(&one) / ticks(&other);
    assert!((1.9..2.1).contains(&ratio), "{ratio}");
    // Stacks that both slots had seen survived the first `take`.
    assert!(other.stacks.iter().any(|stack| !stack.frames.is_empty()));
    for slot in [1, 255] {
        let again = profiler.take(slot).unwrap();
        assert_eq!(again.stacks, []);
        assert!(
            again.lost.values().all(|lost| *lost == 0),
            "{:?}",
            again.lost
        );
    }
    // Nothing ticks between rounds.
    sample(&mut profiler, 1, 0.1);
    thread::sleep(Duration::from_millis(500));
    let after = profiler.take(1).unwrap();
    let expected = f64::from(HZ) * f64::from(after.cpus) * 0.1;
    assert!((samples(&after, |_| true) as f64) < 1.1 * expected);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut profiler = Profiler::load(&Kallsyms::open()).unwrap();
    assert!(matches!(
        profiler.begin(0, HZ),
        Err(ProfileError::Usage { .. })
    ));
    assert!(matches!(
        profiler.begin(1, 0),
        Err(ProfileError::Usage { .. })
    ));
    profiler.begin(1, HZ).unwrap();
    assert!(matches!(
        profiler.begin(2, HZ),
        Err(ProfileError::Sampling(1))
    ));
    assert!(matches!(profiler.take(1), Err(ProfileError::Sampling(1))));
    profiler.end();
    profiler.end();
    assert!(matches!(
        profiler.begin(1, 99),
        Err(ProfileError::Rate { slot: 1, hz: HZ })
    ));
    profiler.take(1).unwrap();
    profiler.begin(1, 99).unwrap();
    profiler.end();
}
