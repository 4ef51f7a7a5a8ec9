//! `cargo xtask setup`: finds or installs what the build and the lab need.
//!
//! It looks at the machine, takes one step, and looks again, until nothing is missing. A second
//! call finds everything and changes nothing. Two ways lead to an eBPF toolchain, see
//! [`toolchain`]; in both, `bpf-linker` must be built against the LLVM of the compiler.

mod ask;
mod debian;
mod linker;
mod plan;
pub(crate) mod toolchain;
mod tools;

use std::collections::BTreeSet;

use anyhow::{Result, bail};

pub(crate) use crate::setup::tools::{Purpose, can_start, find_program};
use crate::{
    exec,
    places::Places,
    privilege::Privilege,
    setup::{
        debian::Debian,
        linker::Linker,
        plan::{Plan, Step},
        toolchain::Toolchain,
    },
    stop::Stop,
};

/// `cargo xtask setup`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Install without asking
    #[arg(long)]
    yes: bool,
}

/// An eBPF toolchain that is complete.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    /// The compiler.
    pub(crate) toolchain: Toolchain,
    /// The linker, of the same LLVM major.
    pub(crate) linker: Linker,
}

pub(crate) fn run(args: Args, places: &Places) -> Result<()> {
    let Args { yes } = args;
    let (Ready { toolchain, linker }, changed) = ensure_telling(Purpose::Lab, yes, places)?;
    eprintln!("setup: compiler: {toolchain}");
    eprintln!("setup: linker: {linker}");
    eprintln!(
        "setup: {}",
        if changed {
            "done"
        } else {
            "everything is there, nothing to install"
        }
    );
    Ok(())
}

/// Brings what `purpose` needs, or says what is missing.
///
/// # Errors
/// [`Stop::Prerequisite`] where it cannot be brought from here.
pub(crate) fn ensure(purpose: Purpose, yes: bool, places: &Places) -> Result<Ready> {
    ensure_telling(purpose, yes, places).map(|(ready, _)| ready)
}

/// Also tells whether anything was changed.
fn ensure_telling(purpose: Purpose, yes: bool, places: &Places) -> Result<(Ready, bool)> {
    let debian = Debian::find(Privilege::read()?.root);
    let mut agreed = yes;
    let mut taken = BTreeSet::new();
    loop {
        let plan = plan::make(purpose, places, debian.as_ref())?;
        let Plan { steps, told } = match plan {
            plan::Outcome::Ready(ready) => return Ok((ready, !taken.is_empty())),
            plan::Outcome::Missing(plan) => plan,
        };
        if !told.is_empty() || steps.is_empty() {
            return Err(Stop::Prerequisite(format!(
                "this machine lacks what {} needs:\n{}",
                purpose.name(),
                told.join("\n")
            ))
            .into());
        }
        if !agreed {
            ask::agree(&steps)?;
            agreed = true;
        }
        for step in steps {
            eprintln!("setup: {step}");
            take(&step, places, debian.as_ref())?;
            if !taken.insert(step.to_string()) {
                bail!(
                    "'{step}' went well, and yet the machine looks as before; see docs/building.md"
                );
            }
        }
    }
}

fn take(step: &Step, places: &Places, debian: Option<&Debian>) -> Result<()> {
    match (step, debian) {
        (Step::Packages(packages), Some(debian)) => debian.install(packages),
        (Step::Packages(packages), None) => bail!("no apt-get to install {}", packages.join(" ")),
        (Step::Rustup, _) => match exec::run(&mut toolchain::rustup_install()) {
            Ok(status) if !status.success() => Err(Stop::Prerequisite(format!(
                "rustup cannot install a toolchain, see above; where it can: {}",
                toolchain::RUSTUP_INSTALL
            ))
            .into()),
            result => result.map(drop),
        },
        (Step::Linker { llvm, prefix }, _) => exec::run_ok(
            &mut linker::install(*llvm, prefix, &places.tools()),
            "building bpf-linker",
        ),
    }
}
