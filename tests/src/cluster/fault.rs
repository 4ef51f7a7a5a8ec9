//! Faults that a test makes and takes back, whatever becomes of it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{NETNS, kit, process::Process};

/// Kills a pod's process, as the kernel does it when memory runs out.
///
/// # Errors
/// Where it cannot be signalled.
pub fn kill(process: &Process) -> Result<()> {
    crate::signal(process.id().context("no process")?, libc::SIGKILL)
}

/// The API server, stopped.
pub struct StoppedApi {
    pid: i32,
}

impl StoppedApi {
    /// Stops it where it stands: connections stay open and nothing is answered.
    ///
    /// # Errors
    /// Where the kit does not tell of it.
    pub fn new() -> Result<Self> {
        let output = Command::new(kit()?).arg("status").output()?;
        let status = String::from_utf8(output.stdout)?;
        let cluster = status.split_once("cluster:").context("no cluster")?.1;
        let mut words = cluster.split_whitespace();
        words.by_ref().find(|word| *word == "kube-apiserver");
        // As in `kube-apiserver pid 123, 456 MB`.
        let pid = words.nth(1).context("no API server")?;
        let pid = pid.trim_end_matches(',').parse()?;
        crate::signal(pid, libc::SIGSTOP)?;
        Ok(Self { pid })
    }
}

impl Drop for StoppedApi {
    fn drop(&mut self) {
        let _ = crate::signal(self.pid, libc::SIGCONT);
    }
}

/// A node's cable, cut.
pub struct CutLink {
    node: String,
}

impl CutLink {
    /// Cuts it at the switch, so that the node's own device stays up.
    ///
    /// # Errors
    /// Where there is no such cable.
    pub fn new(node: &str) -> Result<Self> {
        set(node, "down")?;
        Ok(Self {
            node: node.to_owned(),
        })
    }
}

impl Drop for CutLink {
    fn drop(&mut self) {
        let _ = set(&self.node, "up");
    }
}

fn set(node: &str, state: &str) -> Result<()> {
    let arguments = ["-n", NETNS, "link", "set", node, state];
    let status = Command::new("ip").args(arguments).status()?;
    ensure!(status.success(), "ip {}: {status}", arguments.join(" "));
    Ok(())
}
