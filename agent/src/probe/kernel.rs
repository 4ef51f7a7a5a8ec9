//! What the running kernel says of itself.

use std::{fs, io};

use nettoll_core::btf::{Btf, BtfError};

const PATH: &str = "/sys/kernel/btf/vmlinux";

/// Why it says nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelError {
    /// It shows nothing.
    #[error(
        "cannot read {PATH}: {0}; the kernel must be built with CONFIG_DEBUG_INFO_BTF=y (all kernels of the large distributions since 2021 are)"
    )]
    Read(io::Error),
    /// It shows nothing that can be read.
    #[error(transparent)]
    Btf(#[from] BtfError),
}

/// Reads it.
pub(crate) fn btf() -> Result<Btf, KernelError> {
    Ok(Btf::parse(fs::read(PATH).map_err(KernelError::Read)?)?)
}
