//! A job → runs with their places, ids and options. What is compared and in which order comes
//! from [`nettoll_core::plan`].

mod run;

use std::collections::BTreeSet;

use nettoll_core::{
    api::{Inventory, Job, ProbeMode, RUN_IDLE_SECONDS, TRAFFIC_PORT_FIRST, TRAFFIC_PORT_LAST},
    plan::{self, Blocks, Group, PlannedRound, RoundsPlan},
    report::{Options, TestType},
};

pub(super) use self::run::{PlannedRun, Site, node_of};
use self::run::{Ports, run_id};
use super::progress::Extent;

/// What a round takes beyond its traffic, generously.
const ROUND_OVERHEAD_SECONDS: f64 = 0.2;
/// The longest measured time of a run.
const MAX_SECONDS: f64 = 3_600.0;
/// The most pairs of rounds.
const MAX_ROUNDS: u32 = 2_000;

/// Why a job cannot be planned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// What is asked for does not exist, or makes no comparison.
    #[error(transparent)]
    Core(#[from] plan::PlanError),
    /// There are not so many ports.
    #[error(
        "{runs} paths would end at node {node} at once; it has ports for {}: ask for fewer networks",
        TRAFFIC_PORT_LAST - TRAFFIC_PORT_FIRST + 1
    )]
    Ports {
        /// The node.
        node: String,
        /// Runs with their server there.
        runs: usize,
    },
    /// It would take for ever.
    #[error(
        "{seconds} s in {rounds} pairs of rounds is too much for one job; ask for {MAX_SECONDS} s in \
         {MAX_ROUNDS} pairs at most"
    )]
    TooLong {
        /// Of one run.
        seconds: f64,
        /// Of one run.
        rounds: u32,
    },
    /// Agents would take the runs for abandoned.
    #[error(
        "a warm-up of {0} ms is too long for {1} interleaved paths; make it shorter or compare fewer"
    )]
    Warmup(u32, usize),
}

/// What a job measures.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) groups: Vec<RunGroup>,
    /// Which states of the probe the rounds have.
    pub(super) probe: ProbeMode,
    /// What the user should know before anything runs.
    pub(super) warnings: Vec<String>,
    /// What there is to be done.
    pub(super) extent: Extent,
}

/// Runs that are interleaved with each other.
#[derive(Clone, Debug)]
pub(super) struct RunGroup {
    pub(super) runs: Vec<PlannedRun>,
    /// Which are compared: (path, baseline).
    pub(super) pairs: Vec<(usize, usize)>,
}

impl Plan {
    /// Plans a job. `nonce` tells its runs from those of other jobs.
    pub(super) fn new(inventory: &Inventory, job: &Job, nonce: u32) -> Result<Self, PlanError> {
        let (groups, options, pairs, probe): (_, _, fn(&Group) -> _, _) = match job {
            Job::Toll(toll) => {
                let options = Options {
                    seconds: toll.seconds,
                    rounds: toll.pairs,
                    sample_hz: toll.sample_hz,
                    ..Options::default()
                };
                let groups = plan::toll_groups(inventory, toll)?;
                (groups, options, plan::toll_pairs, ProbeMode::Both)
            }
            Job::Test(test) => {
                let group = plan::test_group(inventory, test)?;
                (
                    vec![group],
                    test.options.clone(),
                    plan::test_pairs,
                    test.probe,
                )
            }
        };
        let Options {
            seconds, rounds, ..
        } = options;
        if seconds > MAX_SECONDS || rounds > MAX_ROUNDS {
            return Err(PlanError::TooLong { seconds, rounds });
        }
        let mut plan = Self {
            groups: vec![],
            probe,
            warnings: vec![],
            extent: Extent::default(),
        };
        let mut number = 0;
        for group in groups {
            let rounds = enough_rounds(&options, group.members.len())?;
            if rounds > options.rounds {
                plan.warnings.push(format!(
                    "{}: {rounds} pairs of rounds instead of {}, since long rounds of many paths \
                     would let an agent take a run for abandoned",
                    group.test, options.rounds
                ));
            }
            let options = Options {
                rounds,
                ..options.clone()
            };
            let pairs = pairs(&group);
            let mut ports = Ports::default();
            let mut runs = Vec::new();
            for path in group.members {
                number += 1;
                let id = run_id(&path, group.test, number, nonce);
                runs.push(PlannedRun::new(
                    inventory, path, group.test, &options, id, &mut ports,
                )?);
            }
            if group.test == TestType::HttpRr {
                // Its client sees its stages.
                plan.probe = ProbeMode::Off;
            }
            let group = RunGroup { runs, pairs };
            // Refuses what makes no rounds while the user can still be told so.
            plan.extent += group.extent(&group.blocks(plan.probe, 0, 0)?);
            plan.groups.push(group);
        }
        Ok(plan)
    }

    /// All runs of all groups.
    pub(super) fn runs(&self) -> impl Iterator<Item = &PlannedRun> {
        self.groups.iter().flat_map(|group| &group.runs)
    }

    /// The nodes of all runs.
    pub(super) fn nodes(&self) -> BTreeSet<String> {
        let runs = self.runs();
        runs.flat_map(|run| [run.client.node.clone(), run.server.node.clone()])
            .collect()
    }
}

impl RunGroup {
    /// The group's rounds in their order, and without an end.
    pub(super) fn blocks(
        &self,
        probe: ProbeMode,
        first_sequence: u32,
        seed: u64,
    ) -> Result<Blocks, plan::PlanError> {
        let options = self.runs.first().map(|run| &run.options);
        plan::blocks(&RoundsPlan {
            runs: self.runs.len(),
            pairs: self.pairs_of_rounds(),
            seconds: options.map_or(0.0, |options| options.seconds),
            probe,
            first_sequence,
            seed,
        })
    }

    /// How many blocks of rounds are planned: the same for all runs.
    pub(super) fn pairs_of_rounds(&self) -> u32 {
        self.runs.first().map_or(0, |run| run.options.rounds)
    }

    /// What there is to be done as planned, spare rounds not included.
    pub(super) fn extent(&self, blocks: &Blocks) -> Extent {
        let planned = blocks.clone().take(self.pairs_of_rounds() as usize);
        let mut extent = Extent {
            runs: self.runs.len() as u32,
            ..Extent::default()
        };
        planned.for_each(|block| extent += self.extent_of(&block));
        extent
    }

    /// What there is to be done for these rounds.
    pub(super) fn extent_of(&self, rounds: &[PlannedRound]) -> Extent {
        let seconds = |round: &PlannedRound| {
            let run = self.runs.get(round.run);
            run.map_or(0.0, |run| run.traffic_seconds(round.seconds))
        };
        Extent {
            runs: 0,
            rounds: rounds.len() as u32,
            seconds: rounds.iter().map(seconds).sum(),
        }
    }

    /// The group without the runs that `keep` refuses, and their comparisons.
    pub(super) fn kept(&self, keep: impl Fn(&PlannedRun) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.runs.len())
            .filter(|&run| keep(&self.runs[run]))
            .collect();
        let place = |run| kept.iter().position(|&kept| kept == run);
        let pairs = self
            .pairs
            .iter()
            .filter_map(|&(path, baseline)| Some((place(path)?, place(baseline)?)));
        Self {
            runs: kept.iter().map(|&run| self.runs[run].clone()).collect(),
            pairs: pairs.collect(),
        }
    }
}

/// As many pairs of rounds as asked for, or as are needed for agents to hear of each run often
/// enough: a run may come first in one block of rounds and last in the next.
fn enough_rounds(options: &Options, runs: usize) -> Result<u32, PlanError> {
    let quiet = RUN_IDLE_SECONDS as f64 * 0.8 / 2.0;
    let states = 2.0;
    let fixed =
        runs as f64 * states * (f64::from(options.warmup_ms) / 1e3 + ROUND_OVERHEAD_SECONDS);
    if fixed * 2.0 > quiet {
        return Err(PlanError::Warmup(options.warmup_ms, runs));
    }
    let needed = (runs as f64 * options.seconds / (quiet - fixed)).ceil();
    // What is no number becomes 0, and is refused where rounds are planned.
    Ok(options.rounds.max(needed as u32))
}

#[cfg(test)]
mod tests;
