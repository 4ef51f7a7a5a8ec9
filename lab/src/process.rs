//! Processes that outlive the program that started them.

mod end;

pub(crate) use end::end;

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io,
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{files, netns};

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
    /// The kernel does not tell its start time.
    #[error("cannot read /proc/{pid}/stat of {}: is /proc mounted?", program.display())]
    Unknown {
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
    /// Who has this pid now, be it a zombie; `None` where nobody has it.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let Stat { start_ticks, .. } = Stat::read(&stat)?;
        Some(Self { pid, start_ticks })
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid));
        let running = |stat: Stat| !stat.ended && stat.start_ticks == self.start_ticks;
        stat.ok()
            .as_deref()
            .and_then(Stat::read)
            .is_some_and(running)
    }
}

/// What /proc/PID/stat tells.
struct Stat {
    /// Dead or a zombie.
    ended: bool,
    start_ticks: u64,
}

impl Stat {
    /// The name, field 2, may hold spaces and parentheses: fields are counted from its end.
    fn read(stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        let state = fields.next()?;
        // `state` is field 3.
        let start_ticks = fields.nth(22 - 3 - 1)?.parse().ok()?;
        Some(Self {
            ended: matches!(state, "Z" | "X"),
            start_ticks,
        })
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
            // The log is a file, not a terminal.
            .env("NO_COLOR", "1")
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
        let identity = Identity::of(pid).ok_or_else(|| Error::Unknown {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_field_22_whatever_the_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        let stat = Stat::read(&format!("12 (a) b) {rest}")).unwrap();
        assert_eq!((stat.start_ticks, stat.ended), (4711, false));
        let zombie = rest.replacen('S', "Z", 1);
        assert!(Stat::read(&format!("12 (x) {zombie}")).unwrap().ended);
        assert!(Stat::read("12 (x) S 1").is_none());
    }
}
