//! Runs iproute2's `ip` and `bridge` and nftables' `nft` on batches of lines.
//!
//! Lines instead of netlink messages: what the lab builds can be read, compared with what
//! flannel and kube-proxy build, and typed by hand.

use std::{
    fmt,
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use crate::{lock::Lock, netns};

/// A program that reads lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `ip`.
    Ip,
    /// `bridge`.
    Bridge,
    /// `nft`.
    Nft,
}

impl Tool {
    /// Debian's package that has it.
    fn package(self) -> &'static str {
        match self {
            Self::Ip | Self::Bridge => "iproute2",
            Self::Nft => "nftables",
        }
    }

    /// What makes it read its standard input.
    fn arguments(self) -> [&'static str; 2] {
        match self {
            Self::Ip | Self::Bridge => ["-batch", "-"],
            Self::Nft => ["-f", "-"],
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ip => "ip",
            Self::Bridge => "bridge",
            Self::Nft => "nft",
        })
    }
}

/// A batch that did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not installed.
    #[error("the program '{tool}' was not found: install the package {}", tool.package())]
    Missing {
        /// Which program.
        tool: Tool,
    },
    /// Its namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// It could not be started or fed.
    #[error("cannot run '{tool}': {source}")]
    Run {
        /// Which program.
        tool: Tool,
        /// Why.
        source: io::Error,
    },
    /// It refused a line.
    #[error("'{command}' failed: {message}")]
    Refused {
        /// The command as one would type it.
        command: String,
        /// What the program said.
        message: String,
    },
}

/// Runs all `lines` in a network namespace, or where the caller is; ends at the first line that
/// fails. The lines print nothing, so the program's output is the lock: should this process be
/// killed, nobody else begins before the program has ended.
pub(crate) fn batch(
    lock: &Lock,
    tool: Tool,
    netns: Option<&str>,
    lines: &[String],
) -> Result<(), Error> {
    let mut command = Command::new(tool.to_string());
    match netns {
        Some(name) if tool == Tool::Nft => netns::enter_before_exec(&mut command, name)?,
        _ => {
            command.args(netns.iter().flat_map(|name| ["-n", name]));
        }
    }
    command.args(tool.arguments());
    // A group of its own: Ctrl-C on the terminal must not end a line half-way.
    command.process_group(0);
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { tool },
        _ => Error::Run { tool, source },
    };
    let output = lock.share().map_err(failed)?;
    command
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ended early tells why on standard error.
        match stdin.write_all((lines.join("\n") + "\n").as_bytes()) {
            Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
                return Err(failed(source));
            }
            _ => {}
        }
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = failed_line(&said).and_then(|number| lines.get(number - 1));
    let netns = netns.map(|name| format!(" -n {name}")).unwrap_or_default();
    let line = line.cloned().unwrap_or_else(|| tool.arguments().join(" "));
    Err(Error::Refused {
        command: format!("{tool}{netns} {line}"),
        message: said.lines().next().unwrap_or("no message").to_owned(),
    })
}

/// The number in `Command failed -:5`, from 1.
fn failed_line(said: &str) -> Option<usize> {
    let number = said
        .lines()
        .find_map(|line| line.strip_prefix("Command failed -:"))?;
    number.trim().parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::failed_line;

    #[test]
    fn the_failing_line_is_read_from_what_ip_says() {
        let said = "RTNETLINK answers: File exists\nCommand failed -:2\n";
        assert_eq!(failed_line(said), Some(2));
        assert_eq!(failed_line("Command failed -:0"), None);
        assert_eq!(failed_line("setting the network namespace failed"), None);
    }
}
