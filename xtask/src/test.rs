//! `cargo xtask test`: all tests that this machine can run, in lanes, and at the end what ran.

pub(crate) mod cluster;
mod lane;
pub(crate) mod tally;

use std::{path::PathBuf, time::Instant};

use anyhow::{Result, ensure};

use crate::{
    build,
    lab::Down,
    places::Places,
    privilege::Privilege,
    setup::{self, Purpose},
    stop::{self, Stop},
    test::{
        cluster::Cluster,
        lane::{Lane, Needs},
        tally::{Outcome, Row, Tally},
    },
    vm,
};

/// `cargo xtask test`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run one lane, and fail where this machine cannot
    #[arg(long, value_name = "LANE")]
    only: Option<Lane>,
    /// Install what is missing without asking
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: Args, places: &Places) -> Result<()> {
    let Args { only, yes } = args;
    let lanes = match only {
        Some(lane) => vec![lane],
        None => Lane::ALL.to_vec(),
    };
    let binaries = if lanes.contains(&Lane::Lab) {
        Some(prepare(only, yes, places)?)
    } else {
        None
    };
    let kit = cluster::kit();
    // Tests take their labs down themselves, but an interrupt ends them where they are.
    let nettoll = binaries.as_ref().map(|binaries| binaries.join("nettoll"));
    let down = nettoll.as_deref().map(Down::of);
    let mut rows = Vec::new();
    for lane in lanes {
        let begin = Instant::now();
        let outcome = match (lane, &kit) {
            (Lane::Cluster, Some(kit)) => {
                let cluster = Cluster::up(kit, yes, places)?;
                lane.run(only.is_some(), Needs::Cluster(&cluster), places)?
            }
            (Lane::Cluster, None) => lane.not_run(only.is_some(), cluster::NO_KIT.to_owned())?,
            (Lane::Vm, _) => match vm::lane(yes, places) {
                Ok(outcome) => outcome,
                Err(error) => match stop::lacking(error) {
                    Ok(why) => lane.not_run(only.is_some(), why)?,
                    // A mirror that does not answer takes no other lane with it.
                    Err(error) => Outcome::of(Tally::default(), Some(format!("{error:#}"))),
                },
            },
            (_, _) => lane.run(only.is_some(), Needs::of(binaries.as_deref()), places)?,
        };
        rows.push(Row {
            lane: lane.name(),
            outcome,
            took: begin.elapsed(),
        });
    }
    drop(down);
    print!("{}", tally::table(&rows));
    let failed: Vec<_> = rows
        .iter()
        .filter(|row| matches!(row.outcome, Outcome::Failed { .. }))
        .map(|row| row.lane)
        .collect();
    ensure!(failed.is_empty(), "failed: lane {}", failed.join(", "));
    Ok(())
}

/// What the lane `lab` needs: root, tools, and the binaries as users get them.
fn prepare(only: Option<Lane>, yes: bool, places: &Places) -> Result<PathBuf> {
    let command = match only {
        Some(_) => "cargo xtask test --only lab",
        None => "cargo xtask test",
    };
    let privilege = Privilege::read()?.for_lab(command);
    privilege.map_err(|error| {
        let hint = "; without root there is: cargo xtask test --only pure";
        Stop::Prerequisite(format!("{error}{hint}"))
    })?;
    let ready = setup::ensure(Purpose::Test, yes, places)?;
    build::build(build::Options::RELEASE, &ready, places)
}
