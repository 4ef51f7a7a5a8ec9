//! What something took: by the clock, which other processes are in, and of this thread's processor,
//! where they are not.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Repeated for so long, and so often at least.
const REPEATED: (Duration, usize) = (Duration::from_secs(1), 5);

/// Both times of one thing, in ms.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Took {
    pub(super) cpu_ms: f64,
    pub(super) wall_ms: f64,
}

/// Of one call, and what it gave.
pub(super) fn once<T>(what: impl FnOnce() -> T) -> (Took, T) {
    let (begin, before) = (Instant::now(), processor_ms());
    let value = what();
    let took = Took {
        cpu_ms: processor_ms() - before,
        wall_ms: begin.elapsed().as_secs_f64() * 1e3,
    };
    (took, value)
}

/// The least of either over calls for a second, so that small things are as warm as large ones.
pub(super) fn least<T>(mut what: impl FnMut() -> T) -> Took {
    let begin = Instant::now();
    let mut least = Took {
        cpu_ms: f64::INFINITY,
        wall_ms: f64::INFINITY,
    };
    let mut times = 0;
    while times < REPEATED.1 || begin.elapsed() < REPEATED.0 {
        // What it gave is gone before the next one comes, and at no cost of it.
        let (took, _) = once(&mut what);
        least.cpu_ms = least.cpu_ms.min(took.cpu_ms);
        least.wall_ms = least.wall_ms.min(took.wall_ms);
        times += 1;
    }
    least
}

/// Many times of one kind of thing, in µs.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Spread {
    mean: f64,
    p999: f64,
    max: f64,
}

impl Spread {
    pub(super) fn of(mut times_us: Vec<f64>) -> Self {
        times_us.sort_unstable_by(f64::total_cmp);
        let at = (times_us.len() as f64 * 0.999) as usize;
        Self {
            mean: times_us.iter().sum::<f64>() / times_us.len().max(1) as f64,
            p999: times_us.get(at).copied().unwrap_or_default(),
            max: times_us.last().copied().unwrap_or_default(),
        }
    }
}

fn processor_ms() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
