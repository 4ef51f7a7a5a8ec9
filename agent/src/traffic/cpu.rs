//! Processor time of the whole machine and of this process, and pinning a thread.

use std::{fs, io};

use super::clock::process_ns;

/// More steal than this part of all CPUs' time and the round tells more of the host than of
/// the path.
const MAX_STEAL: f64 = 0.05;

/// What all CPUs of this kernel have done since boot, by `/proc/stat` (see proc(5)).
///
/// Where the kernel has no `IRQ_TIME_ACCOUNTING` busy time is sampled by the timer tick: good
/// for seconds, indicative for one short round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CpuTime {
    /// user, nice, system, irq and softirq; guests are part of user.
    busy_seconds: f64,
    /// user, nice and system: busy without interrupts and softirqs.
    tasks_seconds: f64,
    /// Of this process, the softirqs that ran on its back with it.
    own_seconds: f64,
    /// Wanted, but taken by the hypervisor.
    steal_seconds: f64,
    /// CPUs online.
    cpus: u32,
}

/// Processor time between two moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CpuUse {
    /// Of all CPUs.
    pub(crate) busy_seconds: f64,
    /// Of all CPUs, without interrupts and softirqs.
    pub(crate) tasks_seconds: f64,
    /// Of this process.
    pub(crate) own_seconds: f64,
    /// Of all CPUs.
    pub(crate) steal_seconds: f64,
    /// CPUs online at the later moment.
    pub(crate) cpus: u32,
}

impl CpuTime {
    /// Now. `None` if `/proc/stat` cannot be read.
    pub(crate) fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let own_seconds = process_ns() as f64 / 1e9;
        Self::parse(&stat, ticks_per_second()?, own_seconds)
    }

    fn parse(stat: &str, ticks_per_second: f64, own_seconds: f64) -> Option<Self> {
        let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let mut ticks = [0_u64; 8];
        let mut fields = all.split_ascii_whitespace();
        for ticks in &mut ticks {
            *ticks = fields.next()?.parse().ok()?;
        }
        let [user, nice, system, _idle, _iowait, irq, softirq, steal] = ticks;
        let cpus = stat.lines().filter(|line| line.starts_with("cpu")).count() - 1;
        Some(Self {
            busy_seconds: (user + nice + system + irq + softirq) as f64 / ticks_per_second,
            tasks_seconds: (user + nice + system) as f64 / ticks_per_second,
            own_seconds,
            steal_seconds: steal as f64 / ticks_per_second,
            cpus: u32::try_from(cpus).ok()?,
        })
    }

    /// What was used from this moment to a later one.
    pub(crate) fn until(self, later: Self) -> CpuUse {
        CpuUse {
            busy_seconds: (later.busy_seconds - self.busy_seconds).max(0.0),
            tasks_seconds: (later.tasks_seconds - self.tasks_seconds).max(0.0),
            own_seconds: (later.own_seconds - self.own_seconds).max(0.0),
            steal_seconds: (later.steal_seconds - self.steal_seconds).max(0.0),
            cpus: later.cpus,
        }
    }
}

impl CpuUse {
    /// That the hypervisor took too much of these `seconds`, in words.
    pub(super) fn disturbance(self, seconds: f64) -> Option<String> {
        let available = seconds * f64::from(self.cpus);
        let share = self.steal_seconds / available.max(f64::MIN_POSITIVE);
        (share > MAX_STEAL).then(|| {
            let percent = share * 100.0;
            format!("the hypervisor took {percent:.0} % of the processor time")
        })
    }
}

/// The unit of `/proc/stat`.
#[expect(
    unsafe_code,
    reason = "sysconf has no safe wrapper among our dependencies"
)]
fn ticks_per_second() -> Option<f64> {
    // SAFETY: sysconf takes no pointer and changes nothing.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    (ticks > 0).then_some(ticks as f64)
}

/// Pins the calling thread to the last CPU that it may run on and returns that CPU: always the
/// same one, so that rounds compare, and not the first, which gets most of the interrupts.
#[expect(
    unsafe_code,
    reason = "sched_setaffinity has no safe wrapper among our dependencies"
)]
pub(super) fn pin_to_one_cpu() -> io::Result<usize> {
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: a cpu_set_t is an array of integers, for which zeroes are valid: the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: pid 0 is the calling thread; the pointer is to a set of `size` bytes.
    if unsafe { libc::sched_getaffinity(0, size, &raw mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let last = (0..libc::CPU_SETSIZE as usize)
        .rev()
        // SAFETY: the number is below CPU_SETSIZE.
        .find(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .ok_or_else(|| io::Error::other("the set of allowed CPUs is empty"))?;
    // SAFETY: as above.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(last, &mut one) };
    // SAFETY: pid 0 is the calling thread; the pointer is to a set of `size` bytes.
    if unsafe { libc::sched_setaffinity(0, size, &raw const one) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_all_but_idle_waiting_and_stolen() {
        let stat = "cpu  100 20 30 4000 500 6 7 80 50 0\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\nctxt 1\n";
        let time = CpuTime::parse(stat, 100.0, 0.25).unwrap();
        assert_eq!(
            time,
            CpuTime {
                busy_seconds: 1.63,
                tasks_seconds: 1.5,
                own_seconds: 0.25,
                steal_seconds: 0.8,
                cpus: 2
            }
        );
        assert_eq!(CpuTime::parse("cpu  1 2 3\n", 100.0, 0.0), None);
        assert_eq!(CpuTime::parse("", 100.0, 0.0), None);
    }

    #[test]
    fn what_the_hypervisor_takes_disturbs() {
        let used = |steal_seconds| CpuUse {
            busy_seconds: 1.0,
            tasks_seconds: 1.0,
            own_seconds: 1.0,
            steal_seconds,
            cpus: 2,
        };
        assert_eq!(used(0.1).disturbance(1.0), None);
        let told = used(0.11).disturbance(1.0).unwrap();
        assert_eq!(told, "the hypervisor took 6 % of the processor time");
        assert_eq!(used(0.0).disturbance(0.0), None);
    }

    #[test]
    fn a_spinning_thread_is_busy() {
        let start = CpuTime::now().unwrap();
        // By the process's own clock: others may have the CPUs for longer.
        let from = process_ns();
        while process_ns() - from < 100_000_000 {
            std::hint::spin_loop();
        }
        let used = start.until(CpuTime::now().unwrap());
        assert!(used.busy_seconds + used.steal_seconds >= 0.05, "{used:?}");
        assert!(used.own_seconds >= 0.1, "{used:?}");
    }

    #[test]
    fn a_pinned_thread_stays_on_its_cpu() {
        let pinned = std::thread::spawn(|| (pin_to_one_cpu().unwrap(), pin_to_one_cpu().unwrap()));
        let (first, second) = pinned.join().unwrap();
        assert_eq!(first, second);
    }
}
