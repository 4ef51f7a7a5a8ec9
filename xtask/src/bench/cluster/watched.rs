//! Processes of the product in a cluster, by what /proc tells of them.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// A process, and what it had taken when it was found.
pub(super) struct Process {
    /// `nettoll-agent` or `nettoll-controller`.
    pub(super) program: String,
    /// Its number.
    pub(super) pid: u32,
    ticks: u64,
}

/// The agents and controllers in pods: those that run, no endpoint's that sleeps.
pub(super) fn processes() -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot list /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|pid| pid.parse().ok()) else {
            continue;
        };
        // A process may end between two looks at it.
        let read = |name| fs::read_to_string(file(pid, name)).unwrap_or_default();
        let command = read("cmdline");
        let mut words = command.split('\0');
        let program = words.next().and_then(|word| word.strip_prefix("/nettoll-"));
        let runs = words.next() == Some("run") && read("cgroup").contains("/kubepods");
        if let Some(program) = program.filter(|_| runs) {
            let program = format!("nettoll-{program}");
            let ticks = ticks(&read("stat")).context("a process without its times")?;
            found.push(Process {
                program,
                pid,
                ticks,
            });
        }
    }
    found.sort_by(|one, other| one.program.cmp(&other.program));
    Ok(found)
}

impl Process {
    /// Processor time since it was found.
    pub(super) fn cpu_seconds_since(&self) -> Result<f64> {
        let now = ticks(&self.read("stat")?).context("a process without its times")?;
        Ok(now.saturating_sub(self.ticks) as f64 / TICKS_PER_SECOND)
    }

    /// Resident memory.
    pub(super) fn memory_mib(&self) -> Result<f64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.context("a process without memory")? / 1_024.0)
    }

    fn read(&self, name: &str) -> Result<String> {
        let Self { program, pid, .. } = self;
        fs::read_to_string(file(*pid, name))
            .with_context(|| format!("{program} {pid} ended while it was measured"))
    }
}

/// What /proc counts in, on every architecture that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

fn file(pid: u32, name: &str) -> PathBuf {
    format!("/proc/{pid}/{name}").into()
}

/// User and system time in a `stat`. The name in brackets may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_fourteenth_and_fifteenth_field() {
        let stat = "42 (a) b) c) S 1 42 42 0 -1 4194560 7 0 0 0 150 27 0 0 20 0 9 0 123 456 78";
        assert_eq!(ticks(stat), Some(177));
        assert_eq!(ticks("42 (a"), None);
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        assert!(ticks(&own).is_some(), "{own}");
    }
}
