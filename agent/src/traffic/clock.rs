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
