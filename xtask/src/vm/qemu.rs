//! QEMU, with all that it is made of: unpacked from one suite of Debian and run from there, so that
//! nothing is installed and any machine has the same.

use std::{path::PathBuf, process::Command};

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    places::Places,
    vm::{apt::Apt, first, fresh},
};

const SUITE: &str = "trixie";
const PACKAGE: &str = "qemu-system-x86";
/// Where its parts are, in its root.
const PROGRAM: &str = "usr/bin/qemu-system-x86_64";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADERS: [&str; 2] = [
    "usr/lib64/ld-linux-x86-64.so.2",
    "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
];
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];
const MODULES: &str = "usr/lib/x86_64-linux-gnu/qemu";

/// How QEMU runs a machine's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// In software: everywhere, some ten times slower
    Tcg,
    /// By this machine's processor
    Kvm,
}

impl Accel {
    /// As `--accel` names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }

    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
        }
    }
}

/// An unpacked QEMU.
#[derive(Debug)]
pub(crate) struct Qemu {
    root: PathBuf,
    loader: PathBuf,
}

impl Qemu {
    /// The one of an earlier call, else (and with `update`) the one that the suite has now.
    pub(crate) fn bring(update: bool, places: &Places) -> Result<Self> {
        let folder = places.vm().join("qemu");
        let root = fresh(&folder, update, |root| {
            eprintln!("vm: fetching QEMU");
            Apt::of(SUITE, folder.join("apt"))?.unpack_whole(PACKAGE, root)
        })?;
        let loader = first(&LOADERS.map(|path| root.join(path)))?;
        Ok(Self { root, loader })
    }

    /// A command that runs it. Its libraries are its own, so its loader must be too.
    pub(crate) fn command(&self, accel: Accel) -> Command {
        let at = |path: &str| self.root.join(path);
        let mut command = Command::new(&self.loader);
        command.arg("--library-path").arg(at(LIBRARIES));
        command.arg(at(PROGRAM)).env("QEMU_MODULE_DIR", at(MODULES));
        for firmware in FIRMWARE {
            command.arg("-L").arg(at(firmware));
        }
        command.args(accel.arguments());
        command
    }
}
