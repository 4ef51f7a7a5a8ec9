//! The file system of a machine: one archive in memory, with the built binaries, the test programs,
//! the kernel's modules, and of the system no more than they call.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    build::BINARIES,
    exec,
    places::Places,
    setup::find_program,
    vm::{cpio::Archive, kernel::Kernel, modules},
};

/// The first program inside.
const INIT: &str = include_str!("init.sh");
/// What the lab and the tests call by name. They are dynamic: their libraries come along.
const TOOLS: [&str; 3] = ["ip", "bridge", "wg"];
/// What the lab and the tests need of the kernel beside what is built in.
const MODULES: [&str; 7] = [
    "veth",
    "bridge",
    "vxlan",
    "tun",
    "geneve",
    "ipip",
    "wireguard",
];

/// What runs inside, the same for all kernels.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Our binaries, by the folder of the build.
    pub(crate) binaries: PathBuf,
    /// Test programs, with their names.
    pub(crate) tests: Vec<(String, PathBuf)>,
}

impl Contents {
    /// The archive for a kernel.
    pub(crate) fn archive(&self, kernel: &Kernel) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for folder in ["/proc", "/sys", "/dev", "/run", "/tmp", "/etc"] {
            archive.directory(folder)?;
        }
        archive.file("/init", 0o755, INIT.as_bytes())?;
        archive.file("/bin/busybox", 0o755, &read(&kernel.busybox)?)?;
        for name in BINARIES {
            let content = read(&self.binaries.join(name))?;
            archive.file(&format!("/nettoll/{name}"), 0o755, &content)?;
        }
        let mut libraries = BTreeSet::new();
        for name in TOOLS {
            let tool = find_program(name).with_context(|| format!("there is no '{name}'"))?;
            libraries.extend(libraries_of(&tool)?);
            archive.file(&format!("/usr/sbin/{name}"), 0o755, &read(&tool)?)?;
        }
        for (name, program) in &self.tests {
            libraries.extend(libraries_of(program)?);
            archive.file(&format!("/tests/{name}"), 0o755, &read(program)?)?;
        }
        for library in libraries {
            archive.file(&library, 0o755, &read(library.as_ref())?)?;
        }
        let modules = modules::in_order(&kernel.modules, &MODULES)?;
        for (number, module) in modules.iter().enumerate() {
            let path = format!("/modules/{number:02}-{}.ko", module.name);
            archive.file(&path, 0o644, &module.content)?;
        }
        // Where the doctor looks for it.
        let path = format!("/boot/config-{}", kernel.release);
        archive.file(&path, 0o644, &read(&kernel.config)?)?;
        archive.finish()
    }
}

/// The test programs of the lane, built for this machine.
pub(crate) fn tests(places: &Places) -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = places.cargo("test");
    // The same packages as in the other lanes, so that nothing is built twice.
    cargo.args(["--workspace", "--exclude", "nettoll-agent-ebpf"]);
    cargo.args(["--test", "vm_*", "--no-run"]);
    cargo.arg("--message-format=json-render-diagnostics");
    let mut found = Vec::new();
    let status = exec::run_lines(&mut cargo, |line| found.extend(executable(line)))?;
    exec::success(status, "building the tests")?;
    found.sort();
    Ok(found)
}

/// The name and the file of a program that cargo tells of.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let file = message.get("executable")?.as_str()?;
    let name = message.pointer("/target/name")?.as_str()?;
    Some((name.to_owned(), file.into()))
}

/// Where the libraries of a dynamic program are, the loader among them.
fn libraries_of(program: &Path) -> Result<Vec<String>> {
    let text = exec::ask(Command::new("ldd").arg(program))?;
    Ok(text
        .lines()
        .filter_map(library)
        .map(str::to_owned)
        .collect())
}

/// The path in a line of `ldd`.
fn library(line: &str) -> Option<&str> {
    line.split_whitespace().find(|word| word.starts_with('/'))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ldd_and_cargo_say() {
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007f7dc1881000)"), None);
        let libc = "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f7dc14f7000)";
        assert_eq!(library(libc), Some("/lib/x86_64-linux-gnu/libc.so.6"));
        let loader = "\t/lib64/ld-linux-x86-64.so.2 (0x00007f7dc1883000)";
        assert_eq!(library(loader), Some("/lib64/ld-linux-x86-64.so.2"));
        let line =
            r#"{"reason":"compiler-artifact","target":{"name":"vm_a"},"executable":"/x/vm_a-1"}"#;
        assert_eq!(
            executable(line),
            Some(("vm_a".to_owned(), "/x/vm_a-1".into()))
        );
        assert_eq!(
            executable(r#"{"reason":"x","target":{"name":"y"},"executable":null}"#),
            None
        );
    }

    #[test]
    fn every_part_of_the_first_program_is_bounded_by_marks() {
        for mark in ["@nettoll begin %s", "@nettoll end %s %s", "@nettoll done"] {
            assert_eq!(INIT.matches(mark).count(), 1, "{mark}");
        }
    }
}
