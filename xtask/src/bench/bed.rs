//! The lab, and what is run in it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nettoll_core::report::{Report, Run};

use crate::{exec, lab::Down, signals, stop::Stop};

/// How long a server has to listen.
const LISTEN_WAIT: Duration = Duration::from_secs(5);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(20);
/// `TCP_LISTEN` of `include/net/tcp_states.h`, as `/proc/net/tcp` shows it.
const LISTEN: &str = "0A";

/// A lab with two nodes and a vxlan, taken down when this goes out of scope.
pub(super) struct Bed<'a> {
    nettoll: &'a Path,
    commands: Vec<String>,
    _down: Down<'a>,
}

impl<'a> Bed<'a> {
    pub(super) fn up(nettoll: &'a Path) -> Result<Self> {
        let mut bed = Self {
            nettoll,
            commands: Vec::new(),
            _down: Down::of(nettoll),
        };
        let mut up = bed.command(&["lab", "up", "--network", "vxlan", "--no-services"]);
        exec::run_ok(up.stdout(Stdio::null()), "nettoll lab up")?;
        Ok(bed)
    }

    /// All commands so far, each once.
    pub(super) fn commands(&self) -> &[String] {
        &self.commands
    }

    /// A node's address on the network of the nodes.
    pub(super) fn address(&mut self, node: &str) -> Result<String> {
        let (status, text) = capture(Command::new(self.nettoll).args(["lab", "status"]))?;
        exec::success(status, "nettoll lab status")?;
        let place = format!("node/{node}");
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|words| words.first() == Some(&place.as_str()))
            .and_then(|words| words.get(2).map(|&address| address.to_owned()))
            .with_context(|| format!("nettoll lab status tells no address of {place}"))
    }

    /// The first run of a `nettoll test`, the one on the path asked for. `None`, and said so,
    /// where it is invalid. Stacks are sampled at `sample_hz`, not at all if it is 0.
    pub(super) fn test(&mut self, arguments: &[&str], sample_hz: u32) -> Result<Option<Run>> {
        let sample_hz = sample_hz.to_string();
        let arguments: Vec<&str> = ["test"]
            .iter()
            .chain(arguments)
            .chain(&["--sample-hz", &sample_hz, "-o", "json"])
            .copied()
            .collect();
        let mut command = self.command(&arguments);
        let (status, text) = capture(&mut command)?;
        // An invalid run is a failure with a report.
        let Ok(report) = serde_json::from_str::<Report>(&text) else {
            exec::success(status, "nettoll test")?;
            bail!("nettoll test wrote no report");
        };
        let run = report.runs.into_iter().next();
        let run = run.context("the report of nettoll test has no run")?;
        if !run.valid {
            eprintln!("bench: left out: {}", run.invalid_reasons.join("; "));
        }
        Ok(run.valid.then_some(run))
    }

    /// What a program prints that runs on a node.
    pub(super) fn on_node(&mut self, node: &str, program: &[&str]) -> Result<String> {
        let (status, text) = capture(&mut self.command(&on_node(node, program)))?;
        exec::success(status, program.first().copied().unwrap_or(node))?;
        Ok(text)
    }

    /// Starts a server on a node and waits until it listens.
    pub(super) fn serve(&mut self, node: &str, program: &[&str], port: u16) -> Result<Server> {
        let name = program.first().copied().unwrap_or(node).to_owned();
        let mut command = self.command(&on_node(node, program));
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Server(exec::start(command)?);
        let since = Instant::now();
        while !server.listens(port) {
            if signals::interrupted() {
                return Err(Stop::Interrupted.into());
            }
            if let Some(status) = server.0.try_wait().context("cannot wait for a server")? {
                bail!("the server {name} ended with {status} before it listened on port {port}");
            }
            if since.elapsed() > LISTEN_WAIT {
                bail!("the server {name} does not listen on port {port}");
            }
            thread::sleep(POLL);
        }
        Ok(server)
    }

    /// A command of this `nettoll`, noted for the reader.
    fn command(&mut self, arguments: &[&str]) -> Command {
        let text = format!("nettoll {}", arguments.join(" "));
        if !self.commands.contains(&text) {
            eprintln!("bench: {text}");
            self.commands.push(text);
        }
        let mut command = Command::new(self.nettoll);
        command.args(arguments);
        command
    }
}

fn on_node<'a>(node: &'a str, program: &[&'a str]) -> Vec<&'a str> {
    [&["lab", "exec", node], program].concat()
}

fn capture(command: &mut Command) -> Result<(ExitStatus, String)> {
    let mut text = String::new();
    let status = exec::run_lines(command, |line| {
        text += line;
        text.push('\n');
    })?;
    Ok((status, text))
}

/// A server, ended with its children when this goes out of scope.
pub(super) struct Server(Child);

impl Server {
    /// In its own network namespace, which `/proc` shows.
    fn listens(&self, port: u16) -> bool {
        let port = format!(":{port:04X}");
        ["tcp", "tcp6"].iter().any(|family| {
            let table = PathBuf::from(format!("/proc/{}/net/{family}", self.0.id()));
            let table = std::fs::read_to_string(table).unwrap_or_default();
            table.lines().any(|line| listening(line, &port))
        })
    }
}

/// A line of `/proc/net/tcp`: number, local address, remote address, state.
fn listening(line: &str, port: &str) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let local = words.next().unwrap_or_default();
    local.ends_with(port) && words.nth(1) == Some(LISTEN)
}

impl Drop for Server {
    fn drop(&mut self) {
        signals::send_to_group(self.0.id(), libc::SIGKILL);
        // There is nothing to be done about an error: then it is gone.
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_told_from_connections() {
        let line = "   3: 00000000:1451 00000000:0000 0A 00000000:00000000 00:00000000 0 0 0";
        assert!(listening(line, ":1451"));
        assert!(!listening(line, ":1452"));
        assert!(!listening(&line.replace(" 0A ", " 01 "), ":1451"));
        assert!(!listening("  sl  local_address rem_address   st", ":1451"));
    }
}
