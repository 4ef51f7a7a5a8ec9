//! `bpf-linker`: which LLVM it has, and how to build one that fits a compiler.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    exec, places,
    setup::{find_program, toolchain},
};

/// The version that is built.
pub(crate) const VERSION: &str = "0.13.0";
/// The LLVM majors that this version has a feature for.
pub(crate) const LLVM_MAJORS: std::ops::RangeInclusive<u32> = 21..=23;

/// A `bpf-linker` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Linker {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The major version of its LLVM.
    pub(crate) llvm: u32,
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bpf-linker with LLVM {} ({})",
            self.llvm,
            self.path.display()
        )
    }
}

/// All that run here: this checkout's own first, then the user's.
pub(crate) fn find(tools: &Path) -> Vec<Linker> {
    [
        Some(tools.join("bin/bpf-linker")),
        find_program("bpf-linker"),
    ]
    .into_iter()
    .flatten()
    .filter_map(|path| {
        exec::ask(toolchain::command(&path).arg("--version")).ok()?;
        let llvm = llvm_major(&path)?;
        Some(Linker { path, llvm })
    })
    .collect()
}

/// `bpf-linker --version` does not tell. A dynamically linked one names `libLLVM.so.22.1` or
/// `libLLVM-18.so.1`; a static one has the stamp that LLVM puts into bitcode, `LLVM22.1.8`.
fn llvm_major(path: &Path) -> Option<u32> {
    let mut grep = Command::new("grep");
    grep.env("LC_ALL", "C")
        .args(["--text", "--only-matching", "--extended-regexp"])
        .arg(r"libLLVM(-|\.so\.)[0-9]+|LLVM[0-9]+\.[0-9]+\.[0-9]+")
        .arg(path);
    first_major(&exec::ask(&mut grep).ok()?)
}

/// The first number of each match; the name of a shared library is the stronger word.
fn first_major(matches: &str) -> Option<u32> {
    let library = matches.lines().find(|line| line.starts_with("lib"));
    let line = library.or_else(|| matches.lines().next())?;
    line.trim_start_matches(|c: char| !c.is_ascii_digit())
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// Where LLVM of a major version is installed with all that is needed to link against it.
pub(crate) fn llvm_prefix(major: u32) -> Option<PathBuf> {
    let own =
        env::var_os("LLVM_PREFIX").map(|prefix| PathBuf::from(prefix).join("bin/llvm-config"));
    let debian = PathBuf::from(format!("/usr/lib/llvm-{major}/bin/llvm-config"));
    [
        own,
        Some(debian),
        find_program(&format!("llvm-config-{major}")),
        find_program("llvm-config"),
    ]
    .into_iter()
    .flatten()
    .find_map(|config| {
        let version = exec::ask(Command::new(&config).arg("--version")).ok()?;
        if version.split('.').next()?.parse() != Ok(major) {
            return None;
        }
        let prefix = exec::ask(Command::new(&config).arg("--prefix")).ok()?;
        Some(PathBuf::from(prefix.trim()))
    })
}

/// Debian's packages that building needs.
pub(crate) fn debian_packages(major: u32) -> Vec<String> {
    vec![
        format!("llvm-{major}-dev"),
        format!("libpolly-{major}-dev"),
        "libzstd-dev".to_owned(),
        "zlib1g-dev".to_owned(),
    ]
}

/// The command that builds one into `tools`.
pub(crate) fn install(major: u32, prefix: &Path, tools: &Path) -> Command {
    let mut command = Command::new(places::cargo());
    command
        .env("LLVM_PREFIX", prefix)
        .env_remove("CARGO_TARGET_DIR")
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--force",
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{major}"),
        ])
        .arg("--root")
        .arg(tools);
    command
}

/// [`install`] for a person to type.
pub(crate) fn install_text(major: u32, tools: &Path) -> String {
    format!(
        "LLVM_PREFIX=<folder of LLVM {major}> cargo install bpf-linker --version {VERSION} \
         --locked --no-default-features --features llvm-{major} --root {}",
        tools.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_llvm_from_what_a_binary_says() {
        assert_eq!(first_major("libLLVM.so.22\n"), Some(22));
        assert_eq!(first_major("libLLVM-18\n"), Some(18));
        assert_eq!(first_major("LLVM23.1.0\n"), Some(23));
        assert_eq!(first_major("LLVM23.1.0\nlibLLVM.so.22\n"), Some(22));
        assert_eq!(first_major(""), None);
    }
}
