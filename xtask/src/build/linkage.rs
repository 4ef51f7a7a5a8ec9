//! How optimised binaries are linked, statically: with musl where its standard library is installed,
//! else with the C library of this machine.

use std::{env, path::Path, process::Command};

use anyhow::Result;

use crate::exec;

/// A C library that can be linked statically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linkage {
    /// `rustup target add ARCH-unknown-linux-musl` brings it.
    Musl,
    /// The machine's own. It cannot look up names in an image without its shared parts, so a
    /// controller of this kind reaches services by address alone.
    Glibc,
}

impl Linkage {
    /// The better one of those that are here.
    pub(crate) fn find() -> Result<Self> {
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["--print", "target-libdir", "--target"]);
        let folder = exec::ask(rustc.arg(Self::Musl.target()))?;
        if Path::new(folder.trim()).is_dir() {
            return Ok(Self::Musl);
        }
        eprintln!(
            "build: linked with this machine's C library; better: rustup target add {}",
            Self::Musl.target()
        );
        Ok(Self::Glibc)
    }

    /// The target's triple.
    pub(crate) fn target(self) -> String {
        let library = match self {
            Self::Musl => "musl",
            Self::Glibc => "gnu",
        };
        format!("{}-unknown-linux-{library}", env::consts::ARCH)
    }

    /// Tells cargo how.
    pub(crate) fn configure(self, cargo: &mut Command) {
        let target = self.target().replace('-', "_");
        match self {
            Self::Musl => {
                // The C in our dependencies uses no C library, so any compiler will do.
                let compiler = format!("CC_{target}");
                if env::var_os(&compiler).is_none() {
                    cargo.env(compiler, "cc");
                }
            }
            Self::Glibc => {
                let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase());
                cargo.env(flags, "-C target-feature=+crt-static");
            }
        }
    }
}
