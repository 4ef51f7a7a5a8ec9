//! What other processes take of the CPUs, beside a process that is known to take much.

use std::{
    fs,
    process::{Child, Command},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::report::{Report, Run};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::session::{Session, first};

const TEST: [&str; 11] = [
    "--from",
    "pod/lab/n1-a",
    "--to",
    "pod/lab/n2-a",
    "--type",
    "tcp_rr",
    "--seconds",
    "2",
    "--probe",
    "off",
    "-o",
];

/// A shell that does nothing as fast as it can; it ends with this.
struct Busy(Child);

impl Busy {
    fn start() -> Result<Self> {
        let mut shell = Command::new("sh");
        Ok(Self(shell.args(["-c", "while :; do :; done"]).spawn()?))
    }

    /// Processor time that it has used, in ns, by the scheduler.
    fn used_ns(&self) -> Result<u64> {
        let path = format!("/proc/{}/schedstat", self.0.id());
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let used = text.split_whitespace().next().context("no time")?;
        Ok(used.parse()?)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Seconds of all CPUs in the run's rounds, and of them those of other processes.
fn others(run: &Run, cpus: u32) -> Result<(f64, f64)> {
    let seconds: f64 = run.rounds.iter().map(|round| round.seconds).sum();
    let side = run.cpu.local.as_ref().context("no processor time")?;
    let share = side.others.context("others were not measured")?;
    let all = seconds * f64::from(cpus);
    Ok((all, share * all))
}

#[test]
fn a_busy_neighbour_is_told() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let cpus = |report: &Report| report.context.nodes.first().map(|node| node.cpus);

    let before = session.test(&TEST[..10])?;
    let (all, alone) = others(first(&before)?, cpus(&before).context("no node")?)?;
    println!("before: others took {alone:.2} of {all:.2} s");

    let busy = Busy::start()?;
    let used_before = busy.used_ns()?;
    let report = session.test(&TEST[..10])?;
    let used = (busy.used_ns()? - used_before) as f64 / 1e9;
    let (all, found) = others(first(&report)?, cpus(&report).context("no node")?)?;
    println!("busy: others took {found:.2} of {all:.2} s, the neighbour {used:.2} s in all");
    // At most what the neighbour did, also between the rounds, and those before it; at least a
    // part of it: softirqs on the agents' backs hide some.
    ensure!(found <= used + alone + 0.1 * all, "{found} s of {used} s");
    ensure!(
        found > alone + 0.05 * all,
        "{found} s beside a neighbour, {alone} s before it came (other processes hide it)"
    );

    let table = session.nettoll(&[&["test"], &TEST[..], &["table"]].concat())?;
    let text = String::from_utf8(table.stdout)?;
    ensure!(text.contains("The machine was busy"), "{text}");
    drop(busy);
    Ok(())
}
