//! Prometheus' own checker.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// Runs it in a folder, with something to read.
///
/// # Errors
/// Where it is not installed, or is not content: with what it said.
pub fn promtool(arguments: &[&str], folder: &Path, input: &str) -> Result<()> {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run promtool; install Debian's package prometheus")?;
    let mut stdin = child.stdin.take().context("it has no standard input")?;
    // It stops reading where it has seen enough, and then says why.
    let fed = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    ensure!(output.status.success(), "promtool {arguments:?}: {told}");
    fed?;
    Ok(())
}

/// A page of metrics is well-formed, and its names are as Prometheus' makers advise.
///
/// # Errors
/// As of [`promtool`].
pub fn check_metrics(page: &str) -> Result<()> {
    promtool(&["check", "metrics"], Path::new("/"), page)
}
