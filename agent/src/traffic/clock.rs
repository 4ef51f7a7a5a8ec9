//! The one clock of all stamps.

/// `CLOCK_MONOTONIC` in ns: what `bpf_ktime_get_ns` reads, so that stamps of traffic threads
/// and of the probe can be subtracted from each other. `std::time::Instant` is the same clock
/// but hides its value.
pub(crate) fn now_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Processor time of all threads of this process since it began, in nanoseconds.
pub(super) fn process_ns() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Sleeps until that time of [`now_ns`], or until a signal comes.
#[expect(
    unsafe_code,
    reason = "clock_nanosleep has no safe wrapper among our dependencies"
)]
pub(super) fn sleep_until(ns: u64) {
    let time = libc::timespec {
        tv_sec: (ns / 1_000_000_000) as _,
        tv_nsec: (ns % 1_000_000_000) as _,
    };
    // SAFETY: the pointer is to a timespec of this frame; what is left is not asked for.
    unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &raw const time,
            std::ptr::null_mut(),
        )
    };
}

/// Lets the calling thread's timers end when they should, not up to 50 µs later.
#[expect(
    unsafe_code,
    reason = "prctl has no safe wrapper among our dependencies"
)]
pub(crate) fn be_punctual() {
    let slack_ns: libc::c_ulong = 1;
    // SAFETY: takes numbers alone, and changes nothing but the calling thread's slack. It cannot
    // fail for the own thread.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack_ns) };
}

#[expect(
    unsafe_code,
    reason = "clock_gettime has no safe wrapper among our dependencies"
)]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of this frame. The call cannot fail: the clocks
    // exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    // Both are never negative: the clocks count from boot, or from the process's beginning.
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_forward() {
        let first = now_ns();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(now_ns() - first >= 2_000_000);
    }
}
