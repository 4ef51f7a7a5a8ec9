//! What the controller's own process takes, under the names that all exporters use.

use std::fs;

use nettoll_core::exposition::{Kind, Page};

/// Units of the kernel's times in /proc, the same on all machines.
const TICKS_A_SECOND: f64 = 100.0;

/// Reads /proc at each scrape.
pub(super) fn write(page: &mut Page) {
    if let Some(seconds) = cpu_seconds() {
        page.single(
            "process_cpu_seconds_total",
            Kind::Counter,
            "CPU time of this process",
            seconds,
        );
    }
    if let Some(bytes) = resident_bytes() {
        page.single(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Memory of this process that is resident",
            bytes,
        );
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold anything, so fields are counted behind it: user and system time are the
    // 14th and 15th of all, the first behind the name is the 3rd.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let mut next = || times.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / TICKS_A_SECOND)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_seen() {
        assert!(cpu_seconds().unwrap() >= 0.0);
        assert!(resident_bytes().unwrap() > f64::from(1 << 20));
    }
}
