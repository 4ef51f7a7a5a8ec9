//! `cargo xtask bench`: figures side by side, from the real binaries in a real lab (`controller`:
//! without one).
//!
//! Nothing is timed here. Ours comes from `nettoll test -o json`, theirs from the other tool's
//! own output; this module interleaves, pairs, compares with the goals and says how sure it is.

mod bed;
mod cluster;
mod comparison;
mod controller;
mod figure;
mod peers;
mod probe;
mod profile;
mod table;
mod traffic;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use nettoll_core::whole;
use serde_json::json;

use self::{bed::Bed, comparison::Comparison};
use crate::{
    build,
    output::Output,
    places::Places,
    privilege::Privilege,
    setup::{self, Purpose},
};

/// More pairs do not make an interval narrower in reasonable time.
const MOST_PAIRS: u32 = 40;

/// `cargo xtask bench`
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// What the probe costs: rounds with it over rounds without it
    Probe(Args),
    /// Our traffic over that of iperf3, sockperf and qperf
    Traffic(Args),
    /// What sampling stacks costs: tests with samples over the same without
    Profile(Args),
    /// What clusters of many nodes take of the controller (simulated; needs no root)
    Controller(controller::Args),
    /// What agents and controllers take of the nodes of the kit's cluster
    Cluster(cluster::Args),
}

/// Of each bench.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How to show the comparisons
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Pairs to begin with; while a comparison with a goal is inconclusive as many are added
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = whole(10..=MOST_PAIRS))]
    pairs: u32,
    /// Pairs at which that ends
    #[arg(long, default_value_t = MOST_PAIRS, value_name = "N", value_parser = whole(10..=MOST_PAIRS))]
    max_pairs: u32,
    /// Measured seconds: of each test's batch of pairs (`probe`, default 5), of each slice
    /// (`traffic`, `profile`, default 1)
    #[arg(long, value_name = "N", value_parser = whole(1..=60))]
    seconds: Option<u32>,
    /// Install what is missing without asking
    #[arg(long)]
    yes: bool,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Pairs of the first batch and of each further one.
    pairs: u32,
    max_pairs: u32,
    seconds: u32,
}

impl Effort {
    /// Another batch fits after so many planned pairs.
    fn goes_on(self, planned: u32) -> bool {
        planned + self.pairs <= self.max_pairs
    }
}

/// What measures in a lab.
type Bench = fn(&mut Bed<'_>, Effort) -> Result<Vec<Comparison>>;

pub(crate) fn run(command: Command, places: &Places) -> Result<()> {
    let (args, seconds, bench): (_, _, Bench) = match &command {
        Command::Probe(args) => {
            Privilege::read()?.for_lab("cargo xtask bench probe")?;
            (args, 5, probe::run)
        }
        Command::Traffic(args) => {
            Privilege::read()?.for_lab("cargo xtask bench traffic")?;
            peers::ready()?;
            (args, 1, traffic::run)
        }
        Command::Profile(args) => {
            Privilege::read()?.for_lab("cargo xtask bench profile")?;
            (args, 1, profile::run)
        }
        Command::Controller(args) => return controller::run(args, places),
        Command::Cluster(args) => return cluster::run(args, places),
    };
    let ready = setup::ensure(Purpose::Lab, args.yes, places)?;
    let binaries = build::build(build::Options::RELEASE, &ready, places)?;
    let nettoll = binaries.join("nettoll");
    let mut bed = Bed::up(&nettoll)?;
    let effort = Effort {
        pairs: args.pairs,
        max_pairs: args.max_pairs,
        seconds: args.seconds.unwrap_or(seconds),
    };
    let comparisons = bench(&mut bed, effort)?;
    print(args.output, &comparisons, bed.commands())
}

/// Another order in each run.
fn seed() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.as_nanos() as u64
}

fn print(output: Output, comparisons: &[Comparison], commands: &[String]) -> Result<()> {
    match output {
        Output::Table => print!("{}", table::render(comparisons, commands)),
        Output::Json => {
            let comparisons: Vec<_> = comparisons.iter().map(Comparison::to_json).collect();
            let all = json!({ "comparisons": comparisons, "commands": commands });
            let text = serde_json::to_string_pretty(&all).context("cannot write the result")?;
            println!("{text}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_added_up_to_forty() {
        let effort = |pairs| Effort {
            pairs,
            max_pairs: MOST_PAIRS,
            seconds: 1,
        };
        assert!(effort(10).goes_on(30));
        assert!(!effort(10).goes_on(40));
        assert!(!effort(15).goes_on(30));
    }
}
