//! The order of rounds.

use super::PlanError;
use crate::{api::ProbeMode, random::SplitMix64, stats::MIN_PAIRS};

/// What is divided into rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundsPlan {
    /// Runs that are compared with each other.
    pub runs: usize,
    /// Pairs of rounds for each two of them, at least [`MIN_PAIRS`].
    pub pairs: u32,
    /// Measured time of one run over all its rounds.
    pub seconds: f64,
    /// Which states of the probe the rounds have.
    pub probe: ProbeMode,
    /// The sequence number of the first round.
    pub first_sequence: u32,
    /// Decides the order; the same seed gives the same one.
    pub seed: u64,
}

/// One round of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedRound {
    /// Which run, from 0.
    pub run: usize,
    /// The pair, from 0. Rounds with the same pair and state of the probe belong together.
    pub pair: u32,
    /// The order over all rounds, from `first_sequence`.
    pub sequence: u32,
    /// Whether the probe is attached.
    pub probe: bool,
    /// Measured time.
    pub seconds: f64,
}

/// Blocks of rounds in the order in which they run: [`RoundsPlan::pairs`] of them are planned, and
/// all that follow are spare ones of the same kind (see [`lacks_pairs`](super::lacks_pairs)).
///
/// A block holds one round of each run for each state of the probe, so what drifts from block to
/// block (heat, neighbours) touches all runs alike. Within a block the rounds of one state of the
/// probe come together, since attaching costs; which state comes first, and the order of the runs
/// within each, are random: no run profits from its place.
#[derive(Clone, Debug)]
pub struct Blocks {
    random: SplitMix64,
    /// As in the last block.
    states: Vec<bool>,
    /// As in the last rounds.
    runs: Vec<usize>,
    /// Of one round.
    seconds: f64,
    pair: u32,
    sequence: u32,
}

/// Plans the blocks of a group of runs.
///
/// # Errors
/// Fewer pairs than make an interval, or no time to measure in.
pub fn blocks(plan: &RoundsPlan) -> Result<Blocks, PlanError> {
    if (plan.pairs as usize) < MIN_PAIRS {
        return Err(PlanError::TooFewPairs(plan.pairs));
    }
    if !(plan.seconds.is_finite() && plan.seconds > 0.0) {
        return Err(PlanError::Seconds(plan.seconds));
    }
    let states = match plan.probe {
        ProbeMode::Both | ProbeMode::Client => vec![false, true],
        ProbeMode::On => vec![true],
        ProbeMode::Off => vec![false],
    };
    Ok(Blocks {
        random: SplitMix64::new(plan.seed),
        seconds: plan.seconds / f64::from(plan.pairs) / states.len() as f64,
        states,
        runs: (0..plan.runs).collect(),
        pair: 0,
        sequence: plan.first_sequence,
    })
}

impl Iterator for Blocks {
    type Item = Vec<PlannedRound>;

    fn next(&mut self) -> Option<Self::Item> {
        self.random.shuffle(&mut self.states);
        let mut block = Vec::with_capacity(self.states.len() * self.runs.len());
        for &probe in &self.states {
            self.random.shuffle(&mut self.runs);
            for &run in &self.runs {
                block.push(PlannedRound {
                    run,
                    pair: self.pair,
                    sequence: self.sequence,
                    probe,
                    seconds: self.seconds,
                });
                self.sequence += 1;
            }
        }
        self.pair += 1;
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: RoundsPlan = RoundsPlan {
        runs: 4,
        pairs: 10,
        seconds: 5.0,
        probe: ProbeMode::Both,
        first_sequence: 100,
        seed: 1,
    };

    /// All planned rounds.
    fn rounds(plan: &RoundsPlan) -> Vec<PlannedRound> {
        let blocks = blocks(plan).unwrap();
        blocks.take(plan.pairs as usize).flatten().collect()
    }

    #[test]
    fn each_block_has_each_run_once_per_state_of_the_probe() {
        let planned = rounds(&PLAN);
        assert_eq!(planned.len(), 4 * 10 * 2);
        for (index, round) in planned.iter().enumerate() {
            assert_eq!(round.sequence as usize, 100 + index);
            assert_eq!(round.pair as usize, index / 8);
        }
        for half_block in planned.chunks(4) {
            assert!(
                half_block
                    .iter()
                    .all(|round| round.probe == half_block[0].probe)
            );
            let mut runs: Vec<usize> = half_block.iter().map(|round| round.run).collect();
            runs.sort_unstable();
            assert_eq!(runs, [0, 1, 2, 3]);
        }
        for block in planned.chunks(8) {
            assert_ne!(block[0].probe, block[4].probe);
        }
    }

    #[test]
    fn a_run_gets_its_seconds() {
        for probe in [
            ProbeMode::Both,
            ProbeMode::Client,
            ProbeMode::On,
            ProbeMode::Off,
        ] {
            let planned = rounds(&RoundsPlan { probe, ..PLAN });
            for run in 0..PLAN.runs {
                let own = planned.iter().filter(|round| round.run == run);
                let seconds: f64 = own.map(|round| round.seconds).sum();
                assert!((seconds - 5.0).abs() < 1e-9);
            }
            let with = planned.iter().filter(|round| round.probe).count();
            let expected = match probe {
                ProbeMode::Both | ProbeMode::Client => planned.len() / 2,
                ProbeMode::On => planned.len(),
                ProbeMode::Off => 0,
            };
            assert_eq!(with, expected);
        }
    }

    #[test]
    fn order_is_random_but_repeatable() {
        assert_eq!(rounds(&PLAN), rounds(&PLAN));
        assert_ne!(rounds(&PLAN), rounds(&RoundsPlan { seed: 2, ..PLAN }));
        let planned = rounds(&RoundsPlan {
            runs: 2,
            pairs: 1_000,
            ..PLAN
        });
        let firsts = planned.chunks(2).filter(|pair| pair[0].run == 0).count();
        assert!((900..1_100).contains(&firsts), "{firsts} of 2,000");
        let without_first = planned.chunks(4).filter(|block| !block[0].probe).count();
        assert!(
            (420..580).contains(&without_first),
            "{without_first} of 1,000"
        );
    }

    #[test]
    fn what_cannot_be_planned_is_refused() {
        let refused = |plan| blocks(&plan).unwrap_err();
        let pairs = refused(RoundsPlan { pairs: 9, ..PLAN });
        assert_eq!(pairs, PlanError::TooFewPairs(9));
        let seconds = refused(RoundsPlan {
            seconds: 0.0,
            ..PLAN
        });
        assert_eq!(seconds, PlanError::Seconds(0.0));
    }
}
