//! `nettoll lab`: the cluster in network namespaces.

use crate::failure::Failure;

/// Arguments of `nettoll lab`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Does what the arguments ask for.
pub(crate) fn run(_args: Args) -> Result<(), Failure> {
    crate::failure::print("the lab is not built yet\n")
}
