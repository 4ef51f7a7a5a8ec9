//! What the integration tests share: the built binaries, and what a lane needs.
//!
//! `tests/lab_*.rs` runs real binaries in network namespaces, as root, one test at a time;
//! `tests/pure_*.rs` needs nothing. `cargo xtask test` builds the binaries and tells the tests
//! where they are. A test whose needs are not met fails: it does not skip itself.

pub mod agent;
pub mod bed;
pub mod cluster;
pub mod control_plane;
pub mod deploy;
pub mod forwarder;
pub mod loopback;
pub mod mesh;
pub mod session;
pub mod spinner;
pub mod threads;

use std::{
    env, fs,
    path::{Path, PathBuf},
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
