//! `cargo xtask vm`: other kernels, each booted under QEMU with the built binaries inside.
//!
//! A machine of [`qemu`] is a kernel of Debian ([`kernel`], by [`apt`]) and a file system in memory ([`guest`],
//! as a [`cpio`] archive with the [`modules`] that it needs). Its first program runs the doctor and
//! the tests of the lane `vm` and powers the [`machine`] off; what they print comes over a serial
//! port and is read into a [`transcript`]. Nothing is installed, and no privilege is
//! needed. Two things are made for the repository: a [`page`] of what ran, and a [`fixture`] of each
//! kernel.

mod apt;
mod cpio;
mod fixture;
mod guest;
mod kernel;
mod machine;
mod modules;
mod page;
mod qemu;
mod transcript;

use std::{
    env::consts::ARCH,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    build,
    places::Places,
    setup::{self, Purpose},
    stop::Stop,
    test::tally::{Outcome, Reader, Tally},
    vm::{
        guest::Contents,
        kernel::{Kernel, Suite},
        machine::{Boot, Machines},
        qemu::{Accel, Qemu},
    },
};

/// Suites whose kernels are tried: 6.1, 6.12, and the newest.
const SUITES: &str = "bookworm,trixie,sid";
/// Those of the lane: the oldest and what most people run.
const LANE: [&str; 2] = ["bookworm", "trixie"];

/// How long a machine of the lane may run.
const LIMIT: Duration = Duration::from_secs(480);

/// Kernels, transcripts and half-made roots are in one folder: two calls at once wait for each other.
///
/// # Errors
/// Where there can be no file.
fn alone(places: &Places) -> Result<File> {
    let folder = places.vm();
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!(
                "vm: another call uses {}; waiting for its end",
                folder.display()
            );
            lock.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    Ok(lock)
}

/// `cargo xtask vm`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Suites of Debian whose kernels to boot
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = SUITES)]
    suite: Vec<Suite>,
    /// How QEMU runs the machine's instructions
    #[arg(long, value_enum, default_value_t = Accel::Tcg)]
    accel: Accel,
    /// Fetch each suite's kernel of today, also where one was fetched before
    #[arg(long)]
    update: bool,
    /// How long one machine may run, in seconds
    #[arg(long, default_value_t = 480, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=86_400))]
    timeout: u64,
    /// Boot nothing; write docs/kernels.md from what ran last on each kernel
    #[arg(long)]
    write_docs: bool,
    /// Boot nothing; cut small descriptions of the kernels for tests
    #[arg(long, conflicts_with = "write_docs")]
    write_fixtures: bool,
    /// Install what is missing without asking
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: Args, places: &Places) -> Result<()> {
    let _alone = alone(places)?;
    if args.write_fixtures {
        for suite in &args.suite {
            fixture::write(&Kernel::bring(suite, args.update, places)?, places)?;
        }
        return Ok(());
    }
    if args.write_docs {
        let last = |suite| machine::last(suite, places);
        let boots = args.suite.iter().map(last).collect::<Result<Vec<_>>>()?;
        return page::write(&boots, places);
    }
    let machines = Machines {
        contents: contents(args.yes, places)?,
        qemu: Qemu::bring(args.update, places)?,
        accel: args.accel,
        limit: Duration::from_secs(args.timeout),
    };
    let boots = boot_all(&machines, &args.suite, args.update, places)?;
    print!("{}", table(&boots));
    let failed = boots.iter().filter(|boot| boot.fault.is_some()).count();
    ensure!(failed == 0, "{failed} of {} kernels failed", boots.len());
    Ok(())
}

/// The lane `vm`: its tests, counted once for each kernel.
///
/// # Errors
/// [`Stop::Prerequisite`] where this machine cannot run it.
pub(crate) fn lane(yes: bool, places: &Places) -> Result<Outcome> {
    let _alone = alone(places)?;
    let machines = Machines {
        contents: contents(yes, places)?,
        qemu: Qemu::bring(false, places)?,
        accel: Accel::Tcg,
        limit: LIMIT,
    };
    let suites = LANE
        .map(str::parse)
        .into_iter()
        .collect::<Result<Vec<_>, _>>();
    let suites = suites.map_err(anyhow::Error::msg)?;
    let boots = boot_all(&machines, &suites, false, places)?;
    print!("{}", table(&boots));
    let mut sum = Tally::default();
    for boot in &boots {
        sum += tests(boot);
    }
    let faults: Vec<_> = (boots.iter())
        .filter_map(|boot| Some(format!("{}: {}", boot.release, boot.fault.as_ref()?)))
        .collect();
    Ok(Outcome::of(
        sum,
        (!faults.is_empty()).then(|| faults.join("; ")),
    ))
}

/// What runs inside, built.
fn contents(yes: bool, places: &Places) -> Result<Contents> {
    if ARCH != "x86_64" {
        let text = format!("the kernels are of x86_64, and this machine is {ARCH}");
        return Err(Stop::Prerequisite(text).into());
    }
    let ready = setup::ensure(Purpose::Vm, yes, places)?;
    let binaries = build::build(build::Options::RELEASE, &ready, places)?;
    let tests = guest::tests(places)?;
    ensure!(!tests.is_empty(), "there are no tests/tests/vm_*.rs");
    Ok(Contents { binaries, tests })
}

fn boot_all(
    machines: &Machines,
    suites: &[Suite],
    update: bool,
    places: &Places,
) -> Result<Vec<Boot>> {
    let boot = |suite| {
        boot(
            machines,
            suite,
            &Kernel::bring(suite, update, places)?,
            places,
        )
    };
    suites.iter().map(boot).collect()
}

fn boot(machines: &Machines, suite: &Suite, kernel: &Kernel, places: &Places) -> Result<Boot> {
    let accel = machines.accel.name();
    eprintln!("vm: booting {} of {suite} ({accel})", kernel.release);
    let show = |part: &str, line: &str| {
        if part != "doctor.json" {
            println!("{} | {line}", kernel.release);
        }
    };
    let boot = machines.boot(suite, kernel, places, show)?;
    if let Some(fault) = &boot.fault {
        let log = boot.log.display();
        eprintln!(
            "vm: {} failed: {fault}; the kernel said: {log}",
            boot.release
        );
    }
    Ok(boot)
}

/// The folder `root` in `folder`: the one of an earlier call, else (and with `update`) filled anew.
fn fresh(folder: &Path, update: bool, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let root = folder.join("root");
    if update || !root.is_dir() {
        // Filled beside it: half a root is none.
        let fresh = folder.join("fresh");
        for old in [&fresh, &root] {
            if old.exists() {
                fs::remove_dir_all(old).with_context(|| format!("cannot remove {old:?}"))?;
            }
        }
        fill(&fresh)?;
        fs::rename(&fresh, &root).with_context(|| format!("cannot rename {fresh:?}"))?;
    }
    Ok(root)
}

/// The first of these files that is there.
fn first(paths: &[PathBuf]) -> Result<PathBuf> {
    let found = paths.iter().find(|path| path.exists()).cloned();
    found.with_context(|| format!("there is none of {paths:?}"))
}

/// How many of the tests passed inside.
fn tests(boot: &Boot) -> Tally {
    tally(boot.transcript.parts.iter().flat_map(|part| &part.lines))
}

/// What lines of test programs say.
fn tally<'a>(lines: impl IntoIterator<Item = &'a String>) -> Tally {
    let mut reader = Reader::default();
    for line in lines {
        reader.take(line);
    }
    reader.tally
}

/// A line for each kernel.
fn table(boots: &[Boot]) -> String {
    let mut text = format!(
        "\n{:<28} {:<10} {:>6} {:>6} {:>7}  outcome\n",
        "kernel", "suite", "passed", "failed", "seconds"
    );
    for boot in boots {
        let Tally { passed, failed, .. } = tests(boot);
        text += &format!(
            "{:<28} {:<10} {passed:>6} {failed:>6} {:>7}  {}\n",
            boot.release,
            boot.suite,
            boot.took.as_secs(),
            boot.fault.as_deref().unwrap_or("passed")
        );
    }
    text
}
