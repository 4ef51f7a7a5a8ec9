//! What a cluster of some size takes of the controller, for `cargo xtask bench controller`.

use clap::Parser;
use nettoll_controller::simulate;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    cluster: simulate::Args,
}

fn main() -> anyhow::Result<()> {
    Ok(simulate::run(&Arguments::parse().cluster)?)
}
