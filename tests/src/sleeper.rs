//! Ground truth for what a reader of a socket misses: one thread of an agent is held for a set time, in
//! its receive call or before it, and how long it really was is logged.

use std::{
    fs, io,
    marker::PhantomData,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{signal, wait_until_stopped};

/// How many times the thread may be in another call than the one that is wanted.
const ATTEMPTS: u32 = 1_000;

/// A thread that has slept so often has messages to read.
const BUSY_SLEEPS: u64 = 100;
/// How long it may have none.
const BUSY_WITHIN: Duration = Duration::from_secs(5);

/// A thread of a child of this process.
pub struct Sleeper {
    process: i32,
    thread: i32,
    /// Of its pod: how many datagrams more were read than sent when it waited for one.
    read_more: i64,
    /// Who traces a thread is a thread too.
    _of_one_thread: PhantomData<*const ()>,
}

impl Sleeper {
    /// The thread of that name, while it waits for a datagram.
    ///
    /// # Errors
    /// Where there is none.
    pub fn named(process: u32, name: &str) -> Result<Self> {
        for entry in fs::read_dir(format!("/proc/{process}/task"))? {
            let folder = entry?.path();
            if fs::read_to_string(folder.join("comm"))?.trim_end() == name {
                let thread = folder.file_name().and_then(|name| name.to_str());
                let mut sleeper = Self {
                    process: process.try_into()?,
                    thread: thread.context("no number")?.parse()?,
                    read_more: 0,
                    _of_one_thread: PhantomData,
                };
                sleeper.read_more = sleeper.read_and_not_answered()?;
                return Ok(sleeper);
            }
        }
        anyhow::bail!("{process} has no thread '{name}'")
    }

    /// A file that the kernel has about it.
    fn told(&self, file: &str) -> Result<String> {
        let Self {
            process, thread, ..
        } = self;
        let path = format!("/proc/{process}/task/{thread}/{file}");
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }

    /// How many datagrams more were read than sent in its pod. A datagram is counted when it is read.
    fn read_and_not_answered(&self) -> Result<i64> {
        let counters = self.told("net/snmp")?;
        let mut of_udp = (counters.lines())
            .filter_map(|line| line.strip_prefix("Udp: "))
            .map(|line| line.split(' '));
        let names = of_udp.next().context("no counters of UDP")?;
        let numbers = of_udp.next().context("no counters of UDP")?;
        let mut count = 0;
        for (name, number) in names.zip(numbers) {
            match name {
                "InDatagrams" => count += number.parse::<i64>()?,
                "OutDatagrams" => count -= number.parse::<i64>()?,
                _ => {}
            }
        }
        Ok(count)
    }

    /// How often it went to sleep by itself.
    fn sleeps(&self) -> Result<u64> {
        let status = self.told("status")?;
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Ok(count.context("no count of its sleeps")?.trim().parse()?)
    }

    /// Waits until it has slept and woken up some times more: it has messages to read.
    ///
    /// # Errors
    /// Where it has none.
    pub fn wait_until_busy(&self) -> Result<()> {
        let before = self.sleeps()?;
        let until = Instant::now() + BUSY_WITHIN;
        while self.sleeps()? < before + BUSY_SLEEPS {
            ensure!(Instant::now() < until, "the thread has nothing to do");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The system call that it is in.
    fn call(&self) -> Result<Option<i64>> {
        let told = self.told("syscall")?;
        Ok(told
            .split(' ')
            .next()
            .and_then(|number| number.parse().ok()))
    }

    /// Stops the whole process for so long at a moment when the thread waits in its receive call; how
    /// long it was stopped.
    ///
    /// # Errors
    /// Where it cannot be signalled, or is never there.
    pub fn stop_in_receive(&self, time: Duration) -> Result<Duration> {
        for _ in 0..ATTEMPTS {
            signal(self.process, libc::SIGSTOP)?;
            // Its threads may run on for milliseconds.
            wait_until_stopped(self.process)?;
            let stopped = Instant::now();
            // Without a datagram that it would have come back with.
            let there = self.call()? == Some(libc::SYS_recvfrom)
                && self.read_and_not_answered()? == self.read_more;
            if there {
                thread::sleep(time);
            }
            signal(self.process, libc::SIGCONT)?;
            if there {
                return Ok(stopped.elapsed());
            }
        }
        anyhow::bail!("the thread is never in its receive call")
    }

    /// Holds the thread for so long at the end of a send call, before it calls to receive; how long it
    /// was held.
    ///
    /// # Errors
    /// Where it cannot be traced, or does not send.
    pub fn hold_after_send(&self, time: Duration) -> Result<Duration> {
        self.trace(libc::PTRACE_SEIZE, libc::PTRACE_O_TRACESYSGOOD as usize)?;
        self.trace(libc::PTRACE_INTERRUPT, 0)?;
        self.wait()?;
        for _ in 0..ATTEMPTS {
            self.trace(libc::PTRACE_SYSCALL, 0)?;
            self.wait()?;
            if self.call()? != Some(libc::SYS_sendto) {
                continue;
            }
            self.trace(libc::PTRACE_SYSCALL, 0)?;
            self.wait()?;
            // If the first stop was at the call's begin, this one is at its end.
            if self.call()? == Some(libc::SYS_sendto) {
                let held = Instant::now();
                thread::sleep(time);
                self.trace(libc::PTRACE_DETACH, 0)?;
                return Ok(held.elapsed());
            }
        }
        anyhow::bail!("the thread does not send")
    }

    #[expect(unsafe_code, reason = "the standard library traces nobody")]
    fn trace(&self, request: libc::c_uint, data: usize) -> Result<()> {
        // SAFETY: none of the requests writes to this process.
        let failed = unsafe { libc::ptrace(request, self.thread, 0_usize, data) } == -1;
        let error = io::Error::last_os_error();
        ensure!(!failed, "cannot trace {}: {error}", self.thread);
        Ok(())
    }

    /// Waits until the traced thread stops.
    #[expect(unsafe_code, reason = "the standard library waits for children alone")]
    fn wait(&self) -> Result<()> {
        let mut status = 0;
        // SAFETY: waitpid writes a number.
        let stopped = unsafe { libc::waitpid(self.thread, &raw mut status, libc::__WALL) };
        let error = io::Error::last_os_error();
        ensure!(stopped == self.thread, "cannot wait for it: {error}");
        ensure!(libc::WIFSTOPPED(status), "it ended: {status:#x}");
        Ok(())
    }
}
