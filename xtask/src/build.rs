//! `cargo xtask build`: the eBPF objects first, then the binaries; the agent embeds the objects.
//!
//! Optimised binaries are static: the lab, the tests and the image run the very same files.

pub(crate) mod linkage;

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    build::linkage::Linkage,
    exec,
    places::{self, BPF_TARGET, Places},
    setup::{self, Purpose, Ready, toolchain},
};

/// The binaries, which are also their packages' names. With `nettoll` comes `kubectl-nettoll`.
pub(crate) const BINARIES: [&str; 3] = ["nettoll-agent", "nettoll-controller", "nettoll"];

/// `cargo xtask build`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Optimised static binaries, the default
    #[arg(long, conflicts_with = "debug")]
    release: bool,
    /// Unoptimised binaries for this machine; the eBPF objects are always optimised, the kernel's
    /// verifier takes no others
    #[arg(long)]
    debug: bool,
    /// Treat warnings of the eBPF crate as errors
    #[arg(long)]
    deny_warnings: bool,
    /// Build the eBPF programs with their log lines, for debugging
    #[arg(long)]
    log: bool,
}

/// How to build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Optimise the binaries.
    pub(crate) release: bool,
    /// Warnings of the eBPF crate are errors.
    pub(crate) deny_warnings: bool,
    /// The eBPF programs log.
    pub(crate) log: bool,
}

impl Options {
    /// What the lab, the tests and the image run.
    pub(crate) const RELEASE: Self = Self {
        release: true,
        deny_warnings: false,
        log: false,
    };
}

pub(crate) fn run(args: Args, places: &Places) -> Result<()> {
    let Args {
        release: _,
        debug,
        deny_warnings,
        log,
    } = args;
    let ready = setup::ensure(Purpose::Build, false, places)?;
    let options = Options {
        release: !debug,
        deny_warnings,
        log,
    };
    let folder = build(options, &ready, places)?;
    println!("{}", places.bpf_objects().display());
    for binary in BINARIES {
        println!("{}", folder.join(binary).display());
    }
    Ok(())
}

/// Builds everything and returns the folder of the binaries.
pub(crate) fn build(options: Options, ready: &Ready, places: &Places) -> Result<PathBuf> {
    objects(options, ready, places)?;
    let mut cargo = places.cargo("build");
    cargo.env("NETTOLL_EBPF_DIR", places.bpf_objects());
    for package in BINARIES {
        cargo.args(["--package", package]);
    }
    let folder = if options.release {
        let linkage = Linkage::find()?;
        let target = linkage.target();
        cargo.args(["--release", "--target", &target]);
        linkage.configure(&mut cargo);
        places.target.join(target).join("release")
    } else {
        places.target.join("debug")
    };
    eprintln!("build: {}", BINARIES.join(", "));
    exec::run_ok(&mut cargo, "building the binaries")?;
    Ok(folder)
}

/// Builds the eBPF objects.
pub(crate) fn objects(options: Options, ready: &Ready, places: &Places) -> Result<()> {
    eprintln!("build: eBPF objects");
    exec::run_ok(
        &mut objects_command(options, ready, places)?,
        "building the eBPF objects",
    )
}

fn objects_command(options: Options, ready: &Ready, at: &Places) -> Result<Command> {
    let Ready { toolchain, linker } = ready;
    let cargo = toolchain.cargo.clone().unwrap_or_else(places::cargo);
    let mut command = toolchain::command(&cargo);
    let linkers = linker
        .path
        .parent()
        .context("bpf-linker lies in no folder")?;
    let folders = env::var_os("PATH").unwrap_or_default();
    let folders = [linkers.to_owned()]
        .into_iter()
        .chain(env::split_paths(&folders));
    command
        .current_dir(&at.root)
        .env(
            "PATH",
            env::join_paths(folders).context("PATH cannot be extended")?,
        )
        .env("RUSTC", &toolchain.rustc)
        // aya-ebpf uses `asm_experimental_arch`, and `-Z build-std` is not stable either.
        .env("RUSTC_BOOTSTRAP", "1")
        // Flags for this machine's own code would not fit.
        .env("CARGO_ENCODED_RUSTFLAGS", "")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .args(["build", "--release", "--package", "nettoll-agent-ebpf"])
        .args(["--target", BPF_TARGET, "--target-dir"])
        .arg(at.bpf_target());
    if options.deny_warnings {
        // No flag of the compiler, with which the objects, and the agent, would be built again.
        command.args(["-Z", "warnings", "--config", "build.warnings='deny'"]);
    }
    if options.log {
        command.args(["--features", "log"]);
    }
    if toolchain.core == toolchain::Core::BuildStd {
        command.args(["-Z", "build-std=core"]);
    }
    Ok(command)
}
