//! Processes that outlive the program that started them, and how they are ended: by a pidfd
//! whose process is known to be the right one, so that a pid that the kernel gave to somebody
//! else is never signalled.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{files, netns};

/// Time between SIGTERM and SIGKILL, and then until the end is given up on.
const PATIENCE: Duration = Duration::from_secs(3);

/// A process that could not be started or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such program.
    #[error("the program {} was not found: build it, or name it with --{flag}", program.display())]
    Missing {
        /// Which.
        program: PathBuf,
        /// The option that names it.
        flag: &'static str,
    },
    /// It did not start.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was gone at once.
    #[error("{} ended at once (pid {pid})", program.display())]
    Gone {
        /// Which.
        program: PathBuf,
        /// Its pid.
        pid: i32,
    },
    /// Its namespace.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// Its log.
    #[error(transparent)]
    Log(#[from] files::Error),
    /// It did not end.
    #[error("cannot end process {pid}: {source}")]
    End {
        /// Its pid.
        pid: i32,
        /// Why.
        source: io::Error,
    },
}

/// A process and no later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since boot: field 22 of /proc/PID/stat, proc(5).
    pub start_ticks: u64,
}

impl Identity {
    /// Who has this pid now; `None` where nobody has it, or only a zombie.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        start_ticks(&stat).map(|start_ticks| Self { pid, start_ticks })
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// The start time in /proc/PID/stat, unless the process is dead. The name, field 2, may hold
/// spaces and parentheses, so fields are counted from the last one.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    // `state` is field 3.
    let start = fields.nth(22 - 3 - 1)?;
    if matches!(state, "Z" | "X") {
        None
    } else {
        start.parse().ok()
    }
}

/// A process of the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// `agent-n1`, `controller`.
    pub name: String,
    /// Which process.
    pub identity: Identity,
    /// Its network namespace.
    pub netns: String,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Process {
    /// Starts a program in a network namespace and a session of its own, its output in a log.
    pub(crate) fn start(
        name: &str,
        netns: &str,
        program: &Path,
        arguments: &[OsString],
    ) -> Result<Self, Error> {
        let log = files::path(&format!("{name}.log"));
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let open = || {
            options
                .open(&log)
                .map_err(|source| files::Error::new("open", &log, source))
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?);
        netns::enter_before_exec(&mut command, netns)?;
        new_session(&mut command);
        let child = command.spawn().map_err(|source| Error::Start {
            program: program.to_owned(),
            source,
        })?;
        // Linux gives pids far below i32::MAX.
        let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
        let identity = Identity::of(pid).ok_or_else(|| Error::Gone {
            program: program.to_owned(),
            pid,
        })?;
        Ok(Self {
            name: name.to_owned(),
            identity,
            netns: netns.to_owned(),
            log,
        })
    }

    /// The last `lines` lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// Detaches a command from the terminal and its signals.
fn new_session(command: &mut Command) {
    #[expect(unsafe_code, reason = "a session is begun between fork and exec")]
    // SAFETY: setsid is a single system call without arguments, allowed after a fork.
    unsafe {
        command.pre_exec(|| match libc::setsid() {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
}

/// Ends processes: SIGTERM to all, SIGKILL to those that do not go. Who is gone already is no
/// error.
pub(crate) fn end(processes: &[Identity]) -> Result<(), Error> {
    let failed = |pid| move |source| Error::End { pid, source };
    let mut left = Vec::new();
    for identity in processes {
        if let Some(descriptor) = pidfd(*identity).map_err(failed(identity.pid))? {
            left.push((identity.pid, descriptor));
        }
    }
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        for (pid, descriptor) in &left {
            send(descriptor, signal).map_err(failed(*pid))?;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut alive = Vec::new();
        for (pid, descriptor) in left {
            if has_ended(&descriptor, deadline).map_err(failed(pid))? {
                reap(pid);
            } else {
                alive.push((pid, descriptor));
            }
        }
        left = alive;
    }
    match left.first() {
        Some((pid, _)) => Err(failed(*pid)(io::ErrorKind::TimedOut.into())),
        None => Ok(()),
    }
}

/// A descriptor of exactly this process; `None` where it has gone. The descriptor is taken
/// before the start time is compared: were it another process's, the times would differ.
fn pidfd(identity: Identity) -> io::Result<Option<OwnedFd>> {
    #[expect(
        unsafe_code,
        reason = "the C library of older systems has no pidfd_open"
    )]
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, identity.pid, 0) };
    let Ok(descriptor @ 0..) = i32::try_from(descriptor) else {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ESRCH) => Ok(None),
            _ => Err(error),
        };
    };
    #[expect(
        unsafe_code,
        reason = "a descriptor from a system call becomes an owned one"
    )]
    // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok(identity.is_running().then_some(descriptor))
}

fn send(descriptor: &OwnedFd, signal: i32) -> io::Result<()> {
    let information = std::ptr::null::<libc::siginfo_t>();
    #[expect(
        unsafe_code,
        reason = "the C library of older systems has no pidfd_send_signal"
    )]
    // SAFETY: the descriptor is open, and a null siginfo is allowed (pidfd_send_signal(2)).
    let status = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            descriptor.as_raw_fd(),
            signal,
            information,
            0,
        )
    };
    let error = io::Error::last_os_error();
    if status == 0 || error.raw_os_error() == Some(libc::ESRCH) {
        Ok(())
    } else {
        Err(error)
    }
}

/// A pidfd becomes readable when its process ends.
fn has_ended(descriptor: &OwnedFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        let mut poll = libc::pollfd {
            fd: descriptor.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        #[expect(unsafe_code, reason = "the standard library has no poll")]
        // SAFETY: one valid pollfd, and its number is given.
        let ready = unsafe { libc::poll(&raw mut poll, 1, timeout) };
        match ready {
            0 => return Ok(false),
            1.. => return Ok(true),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Takes the exit status, if the process is a child of ours: nobody else would.
fn reap(pid: i32) {
    #[expect(
        unsafe_code,
        reason = "the child's handle went with the program that started it"
    )]
    // SAFETY: a null status is allowed; another's child gives ECHILD and nothing happens.
    unsafe {
        libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_field_22_whatever_the_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(start_ticks(&format!("12 (a) b) {rest}")), Some(4711));
        assert_eq!(
            start_ticks(&format!("12 (x) {}", rest.replacen('S', "Z", 1))),
            None
        );
        assert_eq!(start_ticks("12 (x) S 1"), None);
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "`end` waits")]
    fn a_process_ends_and_is_reaped() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(identity.is_running());
        end(&[identity]).unwrap();
        assert!(!identity.is_running());
        assert!(!Path::new(&format!("/proc/{}", identity.pid)).exists());
        end(&[identity]).unwrap();
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "`end` waits")]
    fn a_process_that_ignores_sigterm_is_killed() {
        let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut ready = [0];
        io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut ready).unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        end(&[identity]).unwrap();
        assert!(!identity.is_running());
    }

    #[test]
    fn a_recycled_pid_is_left_alone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        let earlier = Identity {
            start_ticks: identity.start_ticks - 1,
            ..identity
        };
        end(&[earlier]).unwrap();
        assert!(identity.is_running());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
