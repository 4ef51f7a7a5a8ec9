//! bpftrace, code that is not ours, on the same packets.

use std::{
    fs::{self, File},
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

/// How long it may take to attach, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A script that runs.
pub struct Bpftrace {
    child: Child,
    folder: TempDir,
}

impl Bpftrace {
    /// Starts a script, and returns when its probes are attached. The kernel's trace files are
    /// mounted for it alone, where they are not mounted.
    ///
    /// # Errors
    /// Where bpftrace is not installed, or does not take the script.
    pub fn start(script: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str| folder.path().join(name);
        fs::write(file("script.bt"), script)?;
        // At the end exec: a signal to the child is one to bpftrace.
        let mounted = "mountpoint -q /sys/kernel/tracing || \
                       mount -t tracefs tracefs /sys/kernel/tracing && exec bpftrace \"$0\"";
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", mounted])
            .arg(file("script.bt"))
            .stdout(File::create(file("out"))?)
            .stderr(File::create(file("errors"))?)
            .spawn()
            .context("cannot run unshare; install Debian's package util-linux")?;
        let mut started = Self { child, folder };
        let begin = Instant::now();
        while !started.read("out")?.contains("Attaching ") {
            if started.child.try_wait()?.is_some() || begin.elapsed() > PATIENCE {
                bail!(
                    "bpftrace (Debian's package bpftrace) does not attach: {}",
                    started.read("errors")?
                );
            }
            sleep(Duration::from_millis(100));
        }
        // It says so before it does it.
        sleep(Duration::from_secs(2));
        Ok(started)
    }

    /// Ends it, and returns what it printed.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub fn end(mut self) -> Result<String> {
        crate::signal(i32::try_from(self.child.id())?, libc::SIGINT)?;
        let begin = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(begin.elapsed() < PATIENCE, "bpftrace does not end");
            sleep(Duration::from_millis(50));
        }
        self.read("out")
    }

    fn read(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join(name))?)
    }
}

impl Drop for Bpftrace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
