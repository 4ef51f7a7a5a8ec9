//! Debian's package tools, and those of its relatives.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, ExitStatus},
};

use anyhow::{Result, bail};

use crate::{exec, setup::find_program, stop::Stop};

/// Compiler and prebuilt `core` for the eBPF target, as package names: the build for old
/// releases that browsers need, and the normal one. The two conflict.
const COMPILERS: [[&str; 2]; 2] = [
    ["rustc-web", "libstd-rust-web-dev-bpf"],
    ["rustc", "libstd-rust-dev-bpf"],
];

/// A machine with apt.
#[derive(Debug)]
pub(crate) struct Debian {
    /// This process may install.
    pub(crate) root: bool,
}

impl Debian {
    /// `None` on machines of another kind.
    pub(crate) fn find(root: bool) -> Option<Self> {
        let tools = ["apt-get", "apt-cache", "dpkg-query"];
        let all = tools.iter().all(|tool| find_program(tool).is_some());
        all.then_some(Self { root })
    }

    /// Those of `packages` that are not installed.
    pub(crate) fn missing(&self, packages: &[String]) -> Vec<String> {
        let mut query = Command::new("dpkg-query");
        query.args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"]);
        // Unknown packages make dpkg-query fail, but it still tells of the others.
        let output = query.args(packages).output().map(|output| output.stdout);
        let text = String::from_utf8(output.unwrap_or_default()).unwrap_or_default();
        let installed: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("installed "))
            .collect();
        let lacks = |package: &&String| !installed.contains(package.as_str());
        packages.iter().filter(lacks).cloned().collect()
    }

    /// The packages of a compiler with a prebuilt `core`, and its LLVM's major version; `None`
    /// where this release has none. Fetches the package lists where they do not tell.
    pub(crate) fn compiler(&self) -> Result<Option<(Vec<String>, u32)>> {
        let look = || {
            COMPILERS
                .iter()
                .find_map(|packages| Some((names(packages), llvm_of(packages)?)))
        };
        match look() {
            None if self.root => {
                self.update()?;
                Ok(look())
            }
            found => Ok(found),
        }
    }

    /// Installs packages and removes none.
    pub(crate) fn install(&self, packages: &[String]) -> Result<()> {
        let mut fresh = false;
        if !unknown(packages).is_empty() {
            self.update()?;
            fresh = true;
            let unknown = unknown(packages);
            if !unknown.is_empty() {
                return Err(Stop::Prerequisite(format!(
                    "this release's package lists do not have {}; see docs/building.md for the \
                     way without them",
                    unknown.join(" ")
                ))
                .into());
            }
        }
        let mut status = apt_install(packages)?;
        if !status.success() && !fresh {
            // Lists that name packages which the mirror no longer has look like this.
            self.update()?;
            status = apt_install(packages)?;
        }
        exec::success(status, "apt-get install")
    }

    fn update(&self) -> Result<()> {
        if !self.root {
            bail!("the package lists must be fetched first: sudo apt-get update");
        }
        eprintln!("setup: fetching the package lists");
        exec::run_ok(apt_get().args(["--quiet=2", "update"]), "apt-get update")
    }
}

/// What a person types to install packages.
pub(crate) fn install_text(packages: &[String]) -> String {
    format!(
        "sudo apt-get update && sudo apt-get install {}",
        packages.join(" ")
    )
}

fn names(packages: &[&str]) -> Vec<String> {
    packages.iter().map(|&name| name.to_owned()).collect()
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["--option", "DPkg::Lock::Timeout=300"]);
    command
}

fn apt_install(packages: &[String]) -> Result<ExitStatus> {
    let options = [
        "--quiet=2",
        "--yes",
        "--no-remove",
        "--no-install-recommends",
        "install",
    ];
    exec::run(apt_get().args(options).args(packages))
}

/// The package lists have all of `packages`.
pub(crate) fn has(packages: &[String]) -> bool {
    unknown(packages).is_empty()
}

/// Those of `packages` that the package lists do not have.
fn unknown(packages: &[String]) -> Vec<String> {
    if !has_lists() {
        return packages.to_vec();
    }
    let policy = exec::ask(Command::new("apt-cache").arg("policy").args(packages));
    let known = candidates(&policy.unwrap_or_default());
    packages
        .iter()
        .filter(|package| !known.contains(*package))
        .cloned()
        .collect()
}

fn has_lists() -> bool {
    fs::read_dir("/var/lib/apt/lists").is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    })
}

/// Packages with something to install, from `apt-cache policy`.
fn candidates(policy: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut package = None;
    for line in policy.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            package = Some(name.to_owned());
        } else if let Some(version) = line.trim_start().strip_prefix("Candidate: ")
            && version != "(none)"
        {
            known.extend(package.take());
        }
    }
    known
}

/// The LLVM major that a compiler's packages depend on; `None` where a package is unknown.
fn llvm_of(packages: &[&str]) -> Option<u32> {
    if !unknown(&names(packages)).is_empty() {
        return None;
    }
    let mut depends = Command::new("apt-cache");
    depends
        .args(["depends", "--recurse", "--important"])
        .args(packages);
    exec::ask(&mut depends).ok()?.lines().find_map(|line| {
        line.strip_prefix("libllvm")?
            .split('.')
            .next()?
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_apt_can_install() {
        let policy = "sockperf:\n  Installed: (none)\n  Candidate: 3.7-1\n  Version table:\n     \
                      3.7-1 500\nold:\n  Installed: (none)\n  Candidate: (none)\n";
        assert_eq!(candidates(policy), BTreeSet::from(["sockperf".to_owned()]));
    }
}
