//! What is missing, and the steps that bring it.

use std::{fmt, path::PathBuf};

use anyhow::Result;

use crate::{
    places::{BPF_TARGET, Places},
    setup::{
        Ready,
        debian::{self, Debian},
        find_program, linker,
        toolchain::{self, Choice, Toolchain},
        tools::{self, Purpose},
    },
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Install these packages of the distribution.
    Packages(Vec<String>),
    /// Install a toolchain with `rust-src`.
    Rustup,
    /// Build a linker.
    Linker {
        /// Against this major version of LLVM.
        llvm: u32,
        /// Which is installed here.
        prefix: PathBuf,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packages(packages) => write!(f, "install packages: {}", packages.join(" ")),
            Self::Rustup => write!(f, "{}", toolchain::RUSTUP_INSTALL),
            Self::Linker { llvm, .. } => {
                write!(
                    f,
                    "build bpf-linker {} for LLVM {llvm} (some minutes)",
                    linker::VERSION
                )
            }
        }
    }
}

/// What to do next.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// What can be done from here, in this order. More may be needed afterwards.
    pub(crate) steps: Vec<Step>,
    /// What cannot, in words for the user, each with the command that brings it.
    pub(crate) told: Vec<String>,
}

/// Result of a look at the machine.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing is missing.
    Ready(Ready),
    /// Something is.
    Missing(Plan),
}

/// Looks at the machine.
pub(crate) fn make(purpose: Purpose, places: &Places, debian: Option<&Debian>) -> Result<Outcome> {
    let mut plan = Plan::default();
    let mut packages = Vec::new();

    for tool in tools::missing(purpose) {
        if debian.is_some() {
            packages.push(tool.package.to_owned());
        } else {
            plan.told.push(format!(
                "  the command '{}', for {}; install it with your package manager (Debian's \
                 package is called {})",
                tool.command, tool.what_for, tool.package
            ));
        }
    }

    let tools_folder = places.tools();
    let choice = toolchain::choose(toolchain::find(), &linker::find(&tools_folder));
    match choice {
        Choice::Pair(toolchain, linker) => {
            if packages.is_empty() && plan.told.is_empty() {
                return Ok(Outcome::Ready(Ready { toolchain, linker }));
            }
        }
        Choice::NoLinker(toolchain) => plan.linker(&toolchain, places, debian, &mut packages)?,
        Choice::NoToolchain => plan.toolchain(debian, &mut packages)?,
    }

    packages.sort();
    packages.dedup();
    match debian {
        _ if packages.is_empty() => {}
        Some(Debian { root: true }) => plan.steps.insert(0, Step::Packages(packages)),
        _ => plan.told.push(format!(
            "  packages: {}\n    as root: {}",
            packages.join(" "),
            debian::install_text(&packages)
        )),
    }
    Ok(Outcome::Missing(plan))
}

impl Plan {
    /// A linker for a compiler that is there.
    fn linker(
        &mut self,
        toolchain: &Toolchain,
        places: &Places,
        debian: Option<&Debian>,
        packages: &mut Vec<String>,
    ) -> Result<()> {
        let llvm = toolchain.llvm;
        let (first, last) = linker::LLVM_MAJORS.into_inner();
        let known = linker::LLVM_MAJORS.contains(&llvm);
        let lacking = debian.map(|debian| debian.missing(&linker::debian_packages(llvm)));
        let version = linker::VERSION;
        match (lacking, linker::llvm_prefix(llvm)) {
            (Some(lacking), _) if known && !lacking.is_empty() && debian::has(&lacking) => {
                packages.extend(lacking);
            }
            (_, Some(prefix)) if known => self.steps.push(Step::Linker { llvm, prefix }),
            _ if debian_compiler(debian, packages)? => {}
            _ if known => self.told.push(format!(
                "  bpf-linker for LLVM {llvm}, the LLVM of {toolchain}: install LLVM {llvm} with \
                 its headers and libraries, then\n    {}",
                linker::install_text(llvm, &places.tools())
            )),
            _ => self.told.push(format!(
                "  bpf-linker for LLVM {llvm}, the LLVM of {toolchain}: bpf-linker {version} knows \
                 LLVM {first} to {last}; install a compiler with one of these"
            )),
        }
        Ok(())
    }

    /// A compiler, and what its linker will need.
    fn toolchain(&mut self, debian: Option<&Debian>, packages: &mut Vec<String>) -> Result<()> {
        if debian_compiler(debian, packages)? {
            return Ok(());
        }
        if find_program("rustup").is_some() {
            self.steps.push(Step::Rustup);
        } else {
            self.told.push(format!(
                "  a Rust compiler with a core library for {BPF_TARGET}: install rustup, then\n    {}",
                toolchain::RUSTUP_INSTALL
            ));
        }
        Ok(())
    }
}

/// The distribution's compiler with a prebuilt core, and what its linker will need. False where
/// there is none that is not yet installed.
fn debian_compiler(debian: Option<&Debian>, packages: &mut Vec<String>) -> Result<bool> {
    let Some(debian) = debian else {
        return Ok(false);
    };
    let Some((compiler, llvm)) = debian.compiler()? else {
        return Ok(false);
    };
    let lacking = debian.missing(&compiler);
    let found = !lacking.is_empty();
    if found {
        packages.extend(lacking);
        packages.extend(debian.missing(&linker::debian_packages(llvm)));
    }
    Ok(found)
}
