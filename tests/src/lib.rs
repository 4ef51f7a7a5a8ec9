//! What the integration tests share: the built binaries, and what a lane needs.
//!
//! `tests/lab_*.rs` runs real binaries in network namespaces, as root, one test at a time, with the
//! tools that `cargo xtask setup` brings; `tests/vm_*.rs` does the same inside other kernels;
//! `tests/cluster_*.rs` needs a kit; `tests/pure_*.rs` needs nothing. `cargo xtask test` builds the
//! binaries and tells the tests where they are. A test whose needs are not met fails: it does not skip itself.

pub mod agent;
pub mod bed;
pub mod bpftrace;
pub mod cluster;
pub mod control_plane;
pub mod counters;
pub mod deploy;
pub mod drops;
pub mod forwarder;
pub mod held;
pub mod loopback;
pub mod mesh;
pub mod pods;
pub mod promtool;
pub mod session;
pub mod sleeper;
pub mod spinner;
pub mod threads;
pub mod truth;

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// Names the folder of the binaries under test.
pub const BIN_DIR: &str = "NETTOLL_BIN_DIR";

/// A built binary: `nettoll`, `nettoll-agent` or `nettoll-controller`.
///
/// # Errors
/// Where `cargo xtask test` did not say where the binaries are, or one is missing.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = env::var_os(BIN_DIR)
        .with_context(|| format!("{BIN_DIR} is not set; run 'cargo xtask test --only lab'"))?;
    let path = Path::new(&folder).join(name);
    ensure!(
        path.is_file(),
        "{} is missing; run 'cargo xtask build'",
        path.display()
    );
    Ok(path)
}

/// The tests of the lane `lab` call this first.
///
/// # Errors
/// Without root.
pub fn require_root() -> Result<()> {
    let status =
        fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let effective = user.and_then(|ids| ids.split_whitespace().nth(1));
    ensure!(
        effective == Some("0"),
        "this test needs root; run 'cargo xtask test' as root"
    );
    Ok(())
}

/// What a command prints when it is given `input`; `what` names it in errors.
///
/// # Errors
/// Where it fails, with what it said.
pub fn output_of(command: &mut Command, what: &str, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {what}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}", said.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// Sends a signal to a process that the caller knows to be the one it means.
///
/// # Errors
/// As kill(2).
#[expect(
    unsafe_code,
    reason = "kill has no safe wrapper in the standard library"
)]
pub fn signal(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: kill takes two numbers.
    let failed = unsafe { libc::kill(pid, signal) } != 0;
    let error = std::io::Error::last_os_error();
    ensure!(!failed, "cannot signal {pid}: {error}");
    Ok(())
}

/// Waits until all threads of a child are stopped.
///
/// # Errors
/// As waitid(2).
#[expect(
    unsafe_code,
    reason = "the standard library waits for the end of a child alone"
)]
pub fn wait_until_stopped(child: i32) -> Result<()> {
    let mut told = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
    let id = libc::id_t::try_from(child)?;
    // SAFETY: waitid writes what happened into memory that is large enough; nobody reads it.
    let failed = unsafe { libc::waitid(libc::P_PID, id, told.as_mut_ptr(), libc::WSTOPPED) } != 0;
    let error = std::io::Error::last_os_error();
    ensure!(!failed, "cannot wait until {child} stops: {error}");
    Ok(())
}
