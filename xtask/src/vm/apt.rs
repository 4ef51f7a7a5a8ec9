//! Packages of a Debian suite that this machine need not run: fetched and unpacked, not installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{exec, setup::find_program, stop::Stop};

/// Who signs Debian's archive.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The package lists of one suite, apart from the machine's own.
#[derive(Debug)]
pub(crate) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Fetches the lists of `suite` into `folder`, from the mirror that this machine uses.
    pub(crate) fn of(suite: &str, folder: PathBuf) -> Result<Self> {
        let mirror = mirror()?;
        for part in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(folder.join(part)).context("cannot make a folder for apt")?;
        }
        let source = format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
        fs::write(folder.join("sources.list"), source).context("cannot write apt's sources")?;
        let apt = Self { folder };
        let mut update = apt.command("apt-get");
        update.args(["--quiet=2", "update"]);
        exec::run_ok(&mut update, &format!("apt-get update for {suite}"))?;
        Ok(apt)
    }

    /// What a package depends on.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let depends = exec::ask(self.command("apt-cache").args(["depends", package]));
        let depends = depends.with_context(|| format!("there is no package {package}"))?;
        Ok(dependencies(&depends))
    }

    /// Fetches packages, without what they depend on, and unpacks them into `root`.
    pub(crate) fn unpack(&self, packages: &[String], root: &Path) -> Result<()> {
        let archives = self.folder.join("archives");
        let mut download = self.command("apt-get");
        download.args(["--quiet=2", "download"]).args(packages);
        exec::run_ok(download.current_dir(&archives), "apt-get download")?;
        extract(&archives, root)
    }

    /// Fetches a package with all that it depends on, as if nothing were installed here, and
    /// unpacks it into `root`.
    pub(crate) fn unpack_whole(&self, package: &str, root: &Path) -> Result<()> {
        let nothing = self.folder.join("status");
        fs::write(&nothing, "").context("cannot write for apt that nothing is installed")?;
        let mut install = self.command("apt-get");
        install
            .arg(format!("--option=Dir::State::status={}", nothing.display()))
            .args(["--quiet=2", "--yes", "--no-install-recommends"])
            .args(["--download-only", "install", package]);
        exec::run_ok(&mut install, "apt-get install --download-only")?;
        extract(&self.folder.join("archives"), root)
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        for (option, value) in [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::State::Lists", "lists"),
            ("Dir::Cache", ""),
        ] {
            let value = self.folder.join(value);
            command.arg(format!("--option={option}={}", value.display()));
        }
        command.args([
            "--option=Dir::Etc::SourceParts=/dev/null",
            "--option=Acquire::Languages=none",
            "--option=Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "--option=APT::Sandbox::User=root",
            "--option=Debug::NoLocking=true",
        ]);
        command
    }
}

/// Unpacks all packages in a folder, and removes them.
fn extract(archives: &Path, root: &Path) -> Result<()> {
    let files = fs::read_dir(archives).context("cannot list the packages")?;
    for file in files {
        let file = file?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            let mut unpack = Command::new("dpkg-deb");
            exec::run_ok(unpack.arg("--extract").arg(&file).arg(root), "dpkg-deb")?;
            fs::remove_file(&file).context("cannot remove a package")?;
        }
    }
    Ok(())
}

/// Where this machine's own apt finds Debian.
fn mirror() -> Result<String> {
    let apt = find_program("apt-get").filter(|_| find_program("dpkg-deb").is_some());
    let targets = apt.and_then(|apt| {
        let mut targets = Command::new(apt);
        targets.args(["indextargets", "--format", "$(REPO_URI)"]);
        let filter = ["Created-By: Packages", "Origin: Debian", "Label: Debian"];
        exec::ask(targets.args(filter)).ok()
    });
    let mirror = targets
        .as_deref()
        .and_then(|targets| targets.lines().next());
    let text = "other kernels come as packages from Debian, and this machine's apt knows no mirror \
                of it: run this on Debian, after 'apt-get update'";
    Ok(mirror
        .ok_or_else(|| Stop::Prerequisite(text.to_owned()))?
        .to_owned())
}

/// The packages in what `apt-cache depends` prints, without alternatives and virtual ones.
fn dependencies(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let (kind, package) = line.split_once(": ")?;
            matches!(kind, "  Depends" | "  PreDepends").then(|| package.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_package_depends_on() {
        let text = "linux-image-7\n  PreDepends: linux-base\n |Depends: dracut\n  Depends: \
                    linux-modules-7\n    dracut\n  Suggests: linux-doc\n";
        assert_eq!(dependencies(text), ["linux-base", "linux-modules-7"]);
    }
}
