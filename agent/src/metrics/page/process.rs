//! What the agent itself takes, under the names that Prometheus' own clients use.

use std::fs;

use nettoll_core::exposition::{Kind, Page};

use super::NS_PER_SECOND;

/// Of `/proc/self/status`, in KiB.
const RESIDENT: &str = "VmRSS:";

pub(super) fn write(page: &mut Page) {
    page.single(
        "process_cpu_seconds_total",
        Kind::Counter,
        "Processor time of the agent, user and system.",
        cpu_ns() as f64 / NS_PER_SECOND,
    );
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = resident_bytes(&status) {
        page.single(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Memory of the agent.",
            bytes as f64,
        );
    }
}

#[expect(
    unsafe_code,
    reason = "clock_gettime has no safe wrapper among our dependencies"
)]
fn cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of this frame. The call cannot fail: the clock
    // exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(RESIDENT))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let text = "VmHWM:\t   20480 kB\nVmRSS:\t    1024 kB\nThreads:\t3\n";
        assert_eq!(resident_bytes(text), Some(1 << 20));
        assert_eq!(resident_bytes("Threads:\t3\n"), None);
    }

    #[test]
    fn time_is_spent() {
        let before = cpu_ns();
        (0..100_000_u64).for_each(|n| drop(std::hint::black_box(n.to_string())));
        assert!(cpu_ns() > before);
    }
}
