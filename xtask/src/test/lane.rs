//! The lanes: which tests belong to each, what it needs, and how it runs.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::{
    exec,
    places::Places,
    stop::Stop,
    test::{
        cluster::Cluster,
        tally::{Outcome, Reader},
    },
};

/// A kind of tests by what they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lane {
    /// Unit tests, and tests/tests/pure_*.rs: nothing but cargo
    Pure,
    /// tests/tests/lab_*.rs: real binaries in real network namespaces; needs root
    Lab,
    /// tests/tests/vm_*.rs: other kernels under QEMU
    Vm,
    /// tests/tests/cluster_*.rs: a real Kubernetes cluster, by the kit that NETTOLL_KIT names
    Cluster,
}

/// What a lane's tests are told of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needs<'a> {
    /// Cargo is all.
    Nothing,
    /// The folder of the built binaries.
    Binaries(&'a Path),
    /// A cluster that runs the image.
    Cluster(&'a Cluster),
}

impl<'a> Needs<'a> {
    /// The binaries where they were built.
    pub(crate) fn of(binaries: Option<&'a Path>) -> Self {
        binaries.map_or(Self::Nothing, Self::Binaries)
    }
}

impl Lane {
    /// In the order in which they run.
    pub(crate) const ALL: [Self; 4] = [Self::Pure, Self::Lab, Self::Vm, Self::Cluster];

    /// As in `--only` and in the names of test files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Lab => "lab",
            Self::Vm => "vm",
            Self::Cluster => "cluster",
        }
    }

    /// Runs it. `asked`: the user named this lane. `needs`: what was brought for it.
    pub(crate) fn run(self, asked: bool, needs: Needs<'_>, places: &Places) -> Result<Outcome> {
        let tests = self.has_files(places)?;
        if !tests && self != Self::Pure {
            let why = format!("it has no tests yet (tests/tests/{}_*.rs)", self.name());
            return self.not_run(asked, why);
        }
        eprintln!("test: lane {}", self.name());
        let mut cargo = places.cargo("test");
        cargo.arg("--no-fail-fast");
        // The same packages in each lane: with others, dependencies would be built again for their
        // features.
        cargo.args(["--workspace", "--exclude", "nettoll-agent-ebpf"]);
        let pattern = format!("{}_*", self.name());
        if self == Self::Pure {
            cargo.args(["--lib", "--bins"]);
        }
        if tests {
            cargo.args(["--test", &pattern]);
        }
        match needs {
            Needs::Nothing => {}
            Needs::Binaries(binaries) => {
                cargo.env("NETTOLL_BIN_DIR", binaries);
                cargo.env("NETTOLL_EBPF_DIR", places.bpf_objects());
            }
            Needs::Cluster(cluster) => cluster.tell(&mut cargo),
        }
        colours(&mut cargo);
        if self != Self::Pure {
            // Namespaces, CPUs and eBPF attachments are shared by all tests of a machine.
            cargo.arg("--test-threads=1");
        }
        count(&mut cargo)
    }

    /// A lane that was asked for and cannot run is an error. The lab belongs to this product's
    /// promises: it is never skipped.
    pub(crate) fn not_run(self, asked: bool, why: String) -> Result<Outcome> {
        if asked || self == Self::Lab {
            let lane = self.name();
            return Err(Stop::Prerequisite(format!("lane {lane} cannot run: {why}")).into());
        }
        Ok(Outcome::Skipped(why))
    }

    fn has_files(self, places: &Places) -> Result<bool> {
        let folder = places.root.join("tests/tests");
        let prefix = format!("{}_", self.name());
        if !folder.is_dir() {
            return Ok(false);
        }
        let files = fs::read_dir(&folder);
        let mut files = files.with_context(|| format!("cannot read {}", folder.display()))?;
        Ok(files.any(|file| {
            file.is_ok_and(|file| {
                let name = file.file_name();
                let name = name.to_string_lossy();
                name.starts_with(&prefix) && name.ends_with(".rs")
            })
        }))
    }
}

/// Keeps colours although the output goes through this program, and ends cargo's own arguments.
fn colours(cargo: &mut Command) {
    let colour = if io::stdout().is_terminal() {
        "always"
    } else {
        "never"
    };
    cargo.args(["--color", colour, "--", "--color", colour]);
}

fn count(cargo: &mut Command) -> Result<Outcome> {
    let mut reader = Reader::default();
    let status = exec::run_lines(cargo, |line| {
        reader.take(line);
        // Without a reader there is nobody to tell.
        let _ = writeln!(io::stdout(), "{line}");
    })?;
    let early = (!status.success()).then(|| "cargo test ended early, see above".to_owned());
    Ok(Outcome::of(reader.tally, early))
}
