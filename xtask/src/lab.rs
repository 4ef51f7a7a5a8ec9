//! `cargo xtask lab`: from a bare checkout to the toll of an overlay on this machine.
//!
//! Setup, build, `nettoll lab up`, `nettoll toll`, and whatever happens `nettoll lab down`.

use std::{
    fs,
    path::{self, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use nettoll_core::whole;

use crate::{
    build, exec,
    places::Places,
    privilege::Privilege,
    setup::{self, Purpose},
    stop::Stop,
};

/// `cargo xtask lab`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pod network between the nodes [default: both for path_cost, vxlan for all other tests]
    #[arg(long)]
    network: Option<Network>,
    /// Measured time of one run over all its rounds
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = whole(1..=86_400))]
    seconds: u32,
    /// Folder for the report's files [default: target/lab]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Install what is missing without asking
    #[arg(long)]
    yes: bool,
}

/// How pods reach pods on the other node.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Network {
    /// A tunnel as flannel builds it.
    Vxlan,
    /// Plain routes.
    HostGw,
    /// Each for all tests.
    Both,
}

impl Network {
    fn as_str(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::HostGw => "host-gw",
            Self::Both => "both",
        }
    }
}

pub(crate) fn run(args: Args, places: &Places) -> Result<()> {
    let Args {
        network,
        seconds,
        out,
        yes,
    } = args;
    Privilege::read()?.for_lab("cargo xtask lab")?;
    let out = match out {
        Some(out) => path::absolute(out).context("cannot tell the current folder")?,
        None => places.target.join("lab"),
    };
    // Minutes before nettoll does it.
    fs::create_dir_all(&out).map_err(|error| {
        let (out, more) = (out.display(), "give --out a folder that you can write in");
        Stop::Prerequisite(format!("cannot make the directory {out}: {error}; {more}"))
    })?;
    let ready = setup::ensure(Purpose::Lab, yes, places)?;
    let binaries = build::build(build::Options::RELEASE, &ready, places)?;

    let nettoll = binaries.join("nettoll");
    let seconds = seconds.to_string();
    let _down = Down::of(&nettoll);
    let mut up = Command::new(&nettoll);
    up.args([
        "lab",
        "up",
        "--network",
        network.map_or("both", Network::as_str),
    ]);
    exec::run_ok(&mut up, "nettoll lab up")?;
    let mut toll = Command::new(&nettoll);
    toll.args([
        "toll",
        "--network",
        network.map_or("default", Network::as_str),
    ])
    .args(["--seconds", &seconds, "--out"])
    .arg(&out);
    exec::run_ok(&mut toll, "nettoll toll")
}

/// Takes the lab down when it goes out of scope: at the end, after an error, in a panic.
pub(crate) struct Down<'a> {
    nettoll: &'a path::Path,
}

impl<'a> Down<'a> {
    /// Of the lab that this `nettoll` builds. Made before it does, so that half a lab goes too.
    pub(crate) fn of(nettoll: &'a path::Path) -> Self {
        Self { nettoll }
    }
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let mut down = Command::new(self.nettoll);
        let status = exec::run_to_end(down.args(["lab", "down"]));
        match status.and_then(|status| exec::success(status, "nettoll lab down")) {
            Ok(()) => {}
            Err(error) => eprintln!("error: the lab may still be there: {error:#}"),
        }
    }
}
