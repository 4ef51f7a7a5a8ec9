//! A kernel of Debian: which one, and where its parts are.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    places::Places,
    vm::{apt::Apt, first, fresh},
};

/// The package that depends on a suite's kernel for virtual machines.
const PACKAGE: &str = "linux-image-cloud-amd64";
/// What a kernel's packages are called. Which of them there are differs.
const PARTS: [&str; 4] = [
    "linux-image-",
    "linux-base-",
    "linux-binary-",
    "linux-modules-",
];
/// The programs of the machine's own system, in one static file.
const BUSYBOX: &str = "busybox-static";

/// A suite of Debian, by which its kernel is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suite(String);

impl FromStr for Suite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
        if text.is_empty() || !text.bytes().all(plain) {
            return Err(format!(
                "'{text}' is no suite of Debian; write bookworm or sid"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A kernel that was unpacked.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// As `uname -r` says inside.
    pub(crate) release: String,
    /// Its image, as a boot loader takes it.
    pub(crate) image: PathBuf,
    /// Its folder `lib/modules/RELEASE`.
    pub(crate) modules: PathBuf,
    /// Its configuration.
    pub(crate) config: PathBuf,
    /// The programs of the system.
    pub(crate) busybox: PathBuf,
}

impl Kernel {
    /// The suite's kernel from an earlier call, else (and with `update`) the one that the suite
    /// has now.
    pub(crate) fn bring(suite: &Suite, update: bool, places: &Places) -> Result<Self> {
        let folder = places.vm().join(&suite.0);
        let root = fresh(&folder, update, |root| {
            eprintln!("vm: fetching the kernel of {suite}");
            let apt = Apt::of(&suite.0, folder.join("apt"))?;
            let mut packages = parts(&apt)?;
            packages.push(BUSYBOX.to_owned());
            apt.unpack(&packages, root)
        })?;
        Self::at(&root)
    }

    fn at(root: &Path) -> Result<Self> {
        let modules = first(&["usr/lib/modules", "lib/modules"].map(|path| root.join(path)))?;
        let mut releases = fs::read_dir(&modules)?;
        let release = releases.next().context("the package has no modules")??;
        ensure!(releases.next().is_none(), "two kernels in {modules:?}");
        let modules = release.path();
        let release = release.file_name().to_string_lossy().into_owned();
        let of_boot = |name: &str| root.join("boot").join(format!("{name}-{release}"));
        Ok(Self {
            image: first(&[of_boot("vmlinuz"), modules.join("vmlinuz")])?,
            config: first(&[of_boot("config"), modules.join("config")])?,
            busybox: first(&["usr/bin/busybox", "bin/busybox"].map(|path| root.join(path)))?,
            release,
            modules,
        })
    }
}

/// The packages of the suite's kernel.
fn parts(apt: &Apt) -> Result<Vec<String>> {
    let mut parts: Vec<String> = Vec::new();
    let mut left = apt.depends(PACKAGE)?;
    while let Some(package) = left.pop() {
        let is_part = PARTS.iter().any(|part| package.starts_with(part));
        if is_part && !parts.contains(&package) {
            left.extend(apt.depends(&package)?);
            parts.push(package);
        }
    }
    ensure!(!parts.is_empty(), "{PACKAGE} depends on no kernel");
    Ok(parts)
}
