//! A lab with real processes in it, and the product's own command line on top.

use std::{
    cell::Cell,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nettoll_core::{
    hop::{Direction, Side},
    report::{Report, Run, Stage},
};
use nettoll_lab::{Binaries, Lab, Network, Options, Underlay, files, netns, plan};
use serde::de::DeserializeOwned;

use crate::{agent, bed, binary, require_root};

/// How long a session waits, in all, for a hypervisor that takes the processor away.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long it waits before it asks again.
const PAUSE: Duration = Duration::from_secs(15);

/// The first pods of both nodes.
pub const PODS: [&str; 2] = ["pod/lab/n1-a", "pod/lab/n2-a"];

/// Arguments for who counts packets and compares no times.
pub const BRIEF: [&str; 4] = ["--warmup-ms", "20", "--sample-hz", "0"];

/// The arguments of a test between two endpoints in which every round has the probe.
#[must_use]
pub fn followed<'a>([from, to]: [&'a str; 2], test: &'a str, seconds: &'a str) -> [&'a str; 10] {
    [
        "--from",
        from,
        "--to",
        to,
        "--type",
        test,
        "--seconds",
        seconds,
        "--probe",
        "on",
    ]
}

/// Asks the lab's controller, by HTTP/1.0: the answer's end is the connection's.
///
/// # Errors
/// Where it does not answer, or with an error.
pub fn get<T: DeserializeOwned>(path: &str) -> Result<T> {
    let mut stream = UnixStream::connect(files::CONTROLLER_SOCKET)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: lab\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    ensure!(head.contains(" 200 "), "{answer}");
    serde_json::from_str(body).with_context(|| answer.clone())
}

/// A lab that is up.
pub struct Session {
    /// The bed.
    pub lab: Lab,
    /// What is left of [`PATIENCE`].
    patience: Cell<Duration>,
}

impl Session {
    /// Brings a lab up. Where the underlay is made of TAP devices, somebody must move the frames.
    ///
    /// # Errors
    /// Without root or binaries, or where the lab does not come up.
    pub fn up(network: Network, underlay: Underlay) -> Result<Self> {
        Self::of(Options {
            underlay,
            ..bed::options(network)
        })
    }

    /// Brings a lab up with processes in it, and else as these say.
    ///
    /// # Errors
    /// As [`Self::up`].
    pub fn of(options: Options) -> Result<Self> {
        require_root()?;
        let processes = Binaries {
            agent: binary("nettoll-agent")?,
            controller: binary("nettoll-controller")?,
        };
        let options = Options {
            processes: Some(processes),
            ..options
        };
        Ok(Self {
            lab: Lab::up(&options)?,
            patience: Cell::new(PATIENCE),
        })
    }

    /// A page of the metrics' listener at that address.
    ///
    /// # Errors
    /// Where it cannot be reached, or answers an error.
    pub fn page(&self, address: SocketAddr, path: &str) -> Result<String> {
        let netns = plan::netns(plan::CONTROLLER);
        let mut stream = netns::within(&netns, move || TcpStream::connect(address))??;
        agent::send(&mut stream, "GET", path, "")?;
        let (status, page) = agent::receive(stream)?;
        ensure!(status == 200, "{address}{path}: {status} {page}");
        Ok(page)
    }

    /// Runs `nettoll` with these arguments.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn nettoll(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(arguments)?;
        command.output().context("cannot start nettoll")
    }

    /// `nettoll` with these arguments, to be started.
    ///
    /// # Errors
    /// Without the binary.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary("nettoll")?);
        command.args(arguments).env_remove("NETTOLL_CONTROLLER");
        Ok(command)
    }

    /// Runs `nettoll test` with these arguments and reads its report. A report whose runs are
    /// invalid by the hypervisor's doing alone is no answer: it is said, and asked for again after
    /// a pause, until the session's patience of [`PATIENCE`] is at its end.
    ///
    /// # Errors
    /// Where it fails.
    pub fn test(&self, arguments: &[&str]) -> Result<Report> {
        self.ask(arguments, |_| false)
    }

    /// The same for who counts packets and adds stages up: a run that the hypervisor disturbed is
    /// an answer too where it has a closure, which is of its good rounds.
    ///
    /// # Errors
    /// Where it fails.
    pub fn packets(&self, arguments: &[&str]) -> Result<Report> {
        let closed = |report: &Report| report.runs.iter().all(|run| run.closure.is_some());
        self.ask(arguments, closed)
    }

    fn ask(&self, arguments: &[&str], enough: impl Fn(&Report) -> bool) -> Result<Report> {
        let mut all = vec!["test", "-o", "json"];
        all.extend(arguments);
        loop {
            let output = self.nettoll(&all)?;
            if let Some(folder) = std::env::var_os("NETTOLL_KEEP_REPORTS") {
                std::fs::write(
                    std::path::Path::new(&folder).join("report.json"),
                    &output.stdout,
                )?;
            }
            let report = serde_json::from_slice::<Report>(&output.stdout);
            if output.status.success() {
                return Ok(report?);
            }
            if let Ok(report) = &report
                && stolen(report)
                && enough(report)
            {
                return Ok(report.clone());
            }
            if report.as_ref().is_ok_and(stolen)
                && let Some(left) = self.patience.get().checked_sub(PAUSE)
            {
                // Not by `eprintln!`, which is shown of failed tests alone.
                writeln!(
                    std::io::stderr(),
                    "again in {PAUSE:?}, for {left:?} more at most:\n{}",
                    String::from_utf8_lossy(&output.stderr)
                )?;
                self.patience.set(left);
                std::thread::sleep(PAUSE);
                continue;
            }
            let lost = report.map(|report| {
                let lost = report.runs.into_iter().map(|run| run.probe.lost);
                lost.collect::<Vec<_>>()
            });
            bail!(
                "nettoll {}: {}\n{}\nlost by the probe: {:?}",
                all.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr),
                lost.ok()
            );
        }
    }
}

/// Are runs invalid, and each of them because the hypervisor took too much of the processor's time?
/// Where it left no good round, too few round trips follow from that.
fn stolen(report: &Report) -> bool {
    let by_hypervisor = |reason: &String| reason.contains("the hypervisor took");
    let follows = |reason: &String| by_hypervisor(reason) || reason.contains("are too few");
    let all = report.runs.iter().map(|run| &run.invalid_reasons);
    let invalid: Vec<_> = all.filter(|reasons| !reasons.is_empty()).collect();
    let excused =
        |reasons: &&Vec<String>| reasons.iter().any(by_hypervisor) && reasons.iter().all(follows);
    !invalid.is_empty() && invalid.iter().all(excused)
}

/// The run of the path that was asked for: the first one.
///
/// # Errors
/// In a report without runs.
pub fn first(report: &Report) -> Result<&Run> {
    report.runs.first().context("a report without runs")
}

/// Requests made between the marks of the rounds with the probe.
#[must_use]
pub fn requests(run: &Run) -> u64 {
    let rounds = run.rounds.iter().filter(|round| round.probe);
    rounds.filter_map(|round| round.transactions).sum()
}

/// What a packet over vxlan passes from a pod on one node to a pod on the other, in its direction: which side
/// sees it, the stage, the device.
#[must_use]
pub fn over_vxlan(sender: Side, receiver: Side) -> [(Side, &'static str, &'static str); 13] {
    let port = if sender == Side::Client {
        "vethn1-a"
    } else {
        "vethn2-a"
    };
    [
        (sender, "socket_tx", "eth0"),
        (sender, "veth", "eth0"),
        (sender, "backlog", port),
        (sender, "bridge", "cni0"),
        (sender, "forward", "flannel.1"),
        (sender, "encap", "flannel.1"),
        (sender, "wire", "eth0"),
        (receiver, "backlog", "eth0"),
        (receiver, "decap", "flannel.1"),
        (receiver, "gro_cells", "flannel.1"),
        (receiver, "forward", "cni0"),
        (receiver, "bridge", "cni0"),
        (receiver, "socket_rx", "eth0"),
    ]
}

/// The parts of `socket_rx` that have names of their own. Which of them a message passes is a matter of
/// when its reader calls.
pub const OF_SOCKET: [&str; 3] = ["socket_backlog", "socket_queue", "wakeup"];

/// How many messages came to a side's thread: each has waited for a call, woken one up, or is in one
/// row.
#[must_use]
pub fn arrived(run: &Run, side: Side, direction: Direction) -> u64 {
    let packets = |name| stage(run, side, direction, name, None).and_then(|it| it.packets);
    let parts = ["socket_queue", "wakeup"].map(packets);
    if parts == [None, None] {
        return packets("socket_rx").unwrap_or_default();
    }
    let unsplit = run.stages.iter().flatten().filter(|it| {
        (it.side, it.direction) == (Some(side), direction) && it.stage.contains("->user_receive@")
    });
    let unsplit = unsplit.map(|it| it.packets);
    parts.into_iter().chain(unsplit).flatten().sum()
}

/// The row of a stage.
#[must_use]
pub fn stage<'a>(
    run: &'a Run,
    side: Side,
    direction: Direction,
    name: &str,
    device: Option<&str>,
) -> Option<&'a Stage> {
    run.stages.iter().flatten().find(|stage| {
        stage.side == Some(side)
            && stage.direction == direction
            && stage.stage == name
            && device.is_none_or(|device| stage.device.as_deref() == Some(device))
    })
}

/// What one stage is called in messages and comparisons.
#[must_use]
pub fn label(stage: &Stage) -> String {
    format!(
        "{} {} {} {}",
        stage.side.map_or("-", Side::as_str),
        stage.direction.as_str(),
        stage.stage,
        stage.device.as_deref().unwrap_or("-")
    )
}
