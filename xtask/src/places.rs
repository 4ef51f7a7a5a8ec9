//! Where things are in a checkout.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// The eBPF target: little endian, as all hosts that nettoll knows.
pub(crate) const BPF_TARGET: &str = "bpfel-unknown-none";

/// The folders that commands work in. All paths are absolute.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The workspace.
    pub(crate) root: PathBuf,
    /// Cargo's target folder: `CARGO_TARGET_DIR`, else `target` in the workspace.
    pub(crate) target: PathBuf,
}

impl Places {
    /// Finds them from where this program was built.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask is not in a workspace")?
            .to_owned();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => env::current_dir()
                .context("cannot tell the current folder")?
                .join(dir),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// Root of `cargo install` for tools that only this checkout uses.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Kernels of other systems, and what ran on them.
    pub(crate) fn vm(&self) -> PathBuf {
        self.target.join("vm")
    }

    /// Target folder of the eBPF build. It has one of its own: another compiler fills it.
    pub(crate) fn bpf_target(&self) -> PathBuf {
        self.target.join("bpf")
    }

    /// The folder with the eBPF objects, for `NETTOLL_EBPF_DIR`.
    pub(crate) fn bpf_objects(&self) -> PathBuf {
        self.bpf_target().join(BPF_TARGET).join("release")
    }

    /// A cargo command in the workspace, by the same cargo that runs this program.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = Command::new(cargo());
        command
            .arg(subcommand)
            .arg("--target-dir")
            .arg(&self.target)
            .current_dir(&self.root);
        command
    }
}

/// The cargo that runs this program, past rustup's proxy.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}
