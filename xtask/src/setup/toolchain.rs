//! Compilers that can build for the eBPF target, and which of them to take.
//!
//! `bpfel-unknown-none` has no `core` library in the official distributions. It comes in one of
//! two ways: prebuilt, beside a distribution's `rustc` (Debian: `libstd-rust-web-dev-bpf`), or
//! from the `rust-src` component of a rustup toolchain, by cargo's `-Z build-std=core`.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    exec,
    places::BPF_TARGET,
    setup::{find_program, linker::Linker},
};

/// What brings the second way.
pub(crate) const RUSTUP_INSTALL: &str =
    "rustup toolchain install nightly --profile minimal --component rust-src --no-self-update";

/// [`RUSTUP_INSTALL`] as a command.
pub(crate) fn rustup_install() -> Command {
    let mut words = RUSTUP_INSTALL.split(' ');
    let mut command = Command::new(words.next().unwrap_or("rustup"));
    command.args(words);
    command
}

/// Where the `core` library for the eBPF target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    /// It lies in the compiler's folders.
    Prebuilt,
    /// Cargo builds it from `rust-src`.
    BuildStd,
}

/// A compiler that can build for the eBPF target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// The cargo that belongs to it; `None` where any will do.
    pub(crate) cargo: Option<PathBuf>,
    /// Where its `core` comes from.
    pub(crate) core: Core,
    /// Its version.
    pub(crate) release: String,
    /// The major version of its LLVM.
    pub(crate) llvm: u32,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = match self.core {
            Core::Prebuilt => "prebuilt core",
            Core::BuildStd => "core from rust-src",
        };
        let Self { release, llvm, .. } = self;
        let rustc = self.rustc.display();
        write!(f, "rustc {release} with LLVM {llvm}, {core} ({rustc})")
    }
}

/// All that this machine has, the preferred one first.
pub(crate) fn find() -> Vec<Toolchain> {
    let distribution = [PathBuf::from("/usr/bin/rustc")]
        .into_iter()
        .filter_map(|rustc| {
            let sysroot = exec::ask(command(&rustc).args(["--print", "sysroot"])).ok()?;
            inspect(&rustc, Path::new(sysroot.trim()), None)
        });
    let rustup = rustup_sysroots().into_iter().filter_map(|sysroot| {
        let bin = sysroot.join("bin");
        inspect(&bin.join("rustc"), &sysroot, Some(bin.join("cargo")))
    });
    distribution.chain(rustup).collect()
}

/// A command that runs a compiler as its users would: `cargo run` puts the folders of another
/// toolchain before the library path.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// Toolchain folders of rustup. The one of a nightly comes first: it needs no permission to use
/// `-Z build-std`.
fn rustup_sysroots() -> Vec<PathBuf> {
    if find_program("rustup").is_none() {
        return Vec::new();
    }
    let list = exec::ask(Command::new("rustup").args(["toolchain", "list", "--verbose"]));
    let mut sysroots: Vec<_> = list
        .unwrap_or_default()
        .lines()
        .filter_map(sysroot)
        .collect();
    sysroots.sort_by_key(|sysroot| !sysroot.to_string_lossy().contains("nightly"));
    sysroots.dedup();
    sysroots
}

/// The folder at the end of `stable-x86_64-unknown-linux-gnu (active, default) /home/…`.
fn sysroot(line: &str) -> Option<PathBuf> {
    line.find(" /")
        .or_else(|| line.find("\t/"))
        .map(|at| PathBuf::from(&line[at + 1..]))
}

fn inspect(rustc: &Path, sysroot: &Path, cargo: Option<PathBuf>) -> Option<Toolchain> {
    let libraries = sysroot.join("lib/rustlib");
    let core = if has_core(&libraries.join(BPF_TARGET).join("lib")) {
        Core::Prebuilt
    } else if cargo.is_some() && libraries.join("src/rust/library/core/src/lib.rs").is_file() {
        Core::BuildStd
    } else {
        return None;
    };
    let (release, llvm) = version(&exec::ask(command(rustc).arg("-vV")).ok()?)?;
    Some(Toolchain {
        rustc: rustc.to_owned(),
        cargo: cargo.filter(|cargo| cargo.is_file()),
        core,
        release,
        llvm,
    })
}

fn has_core(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with("libcore-") && name.ends_with(".rlib")
            })
        })
    })
}

/// Release and LLVM major from `rustc -vV`.
fn version(text: &str) -> Option<(String, u32)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    Some((field("release: ")?.to_owned(), llvm))
}

/// The pair to build with: the first compiler that a linker fits. Without one, the compiler to
/// get a linker for.
pub(crate) fn choose(toolchains: Vec<Toolchain>, linkers: &[Linker]) -> Choice {
    let pair = toolchains.iter().find_map(|toolchain| {
        let linker = linkers
            .iter()
            .find(|linker| linker.llvm == toolchain.llvm)?;
        Some((toolchain.clone(), linker.clone()))
    });
    match (pair, toolchains.into_iter().next()) {
        (Some((toolchain, linker)), _) => Choice::Pair(toolchain, linker),
        (None, Some(toolchain)) => Choice::NoLinker(toolchain),
        (None, None) => Choice::NoToolchain,
    }
}

/// Result of [`choose`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Both, of one LLVM major.
    Pair(Toolchain, Linker),
    /// A compiler, but no linker of its LLVM major.
    NoLinker(Toolchain),
    /// No compiler that can build for the eBPF target.
    NoToolchain,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain(rustc: &str, llvm: u32) -> Toolchain {
        Toolchain {
            rustc: rustc.into(),
            cargo: None,
            core: Core::Prebuilt,
            release: "1.96.0".into(),
            llvm,
        }
    }

    fn linker(llvm: u32) -> Linker {
        let path = format!("/opt/{llvm}/bpf-linker").into();
        Linker { path, llvm }
    }

    #[test]
    fn reads_versions() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(version(text), Some(("1.96.0".to_owned(), 22)));
        assert_eq!(version("rustc 1.96.0\n"), None);
    }

    #[test]
    fn reads_folders_of_rustup() {
        let folder = "/home/me/.rustup/toolchains/stable";
        let active = format!("stable-x86_64-unknown-linux-gnu (active, default) {folder}");
        assert_eq!(sysroot(&active), Some(folder.into()));
        assert_eq!(sysroot(&format!("nightly {folder}")), Some(folder.into()));
        assert_eq!(sysroot(&format!("nightly\t{folder}")), Some(folder.into()));
        assert_eq!(sysroot("no installed toolchains"), None);
    }

    #[test]
    fn takes_only_a_pair_of_one_llvm() {
        let toolchains = || vec![toolchain("/usr/bin/rustc", 22), toolchain("/n/rustc", 23)];
        let choice = |linkers: &[Linker]| choose(toolchains(), linkers);
        let second = Choice::Pair(toolchain("/n/rustc", 23), linker(23));
        assert_eq!(choice(&[linker(21), linker(23)]), second);
        let none = Choice::NoLinker(toolchain("/usr/bin/rustc", 22));
        assert_eq!(choice(&[linker(21)]), none);
        assert_eq!(choose(Vec::new(), &[linker(22)]), Choice::NoToolchain);
    }
}
