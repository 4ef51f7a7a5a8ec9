//! What the controller has not fetched yet: a bounded number of rounds, and of some things the
//! last one of each edge.

use std::collections::{BTreeMap, VecDeque};

use nettoll_core::api::{LightRound, MAX_LIGHT_ROUNDS, MAX_LIGHT_ROUNDS_PER_ANSWER};

/// The last rounds, oldest first, with their ends.
#[derive(Debug, Default)]
pub(super) struct Results {
    rounds: VecDeque<(u64, LightRound)>,
    last: u64,
}

impl Results {
    /// Adds a round that ended then, and numbers it.
    pub(super) fn push(&mut self, ended_ns: u64, mut round: LightRound) {
        self.last += 1;
        round.sequence = self.last;
        if self.rounds.len() >= MAX_LIGHT_ROUNDS {
            self.rounds.pop_front();
        }
        self.rounds.push_back((ended_ns, round));
    }

    /// The rounds after a sequence, and how many of them are not kept any more. A sequence that
    /// was not given yet is of an earlier start of the agent, and means all.
    pub(super) fn after(&self, sequence: u64, now_ns: u64) -> (u64, Vec<LightRound>) {
        let after = if sequence > self.last { 0 } else { sequence };
        let oldest = self
            .rounds
            .front()
            .map_or(self.last, |(_, round)| round.sequence - 1);
        let missed = oldest.saturating_sub(after);
        let told = |(ended_ns, round): &(u64, LightRound)| LightRound {
            age_ms: now_ns.saturating_sub(*ended_ns) / 1_000_000,
            ..round.clone()
        };
        let rounds = self
            .rounds
            .iter()
            .filter(|(_, round)| round.sequence > after)
            .take(MAX_LIGHT_ROUNDS_PER_ANSWER);
        (missed, rounds.map(told).collect())
    }

    /// The last round's sequence; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.last
    }
}

/// The last of each edge, with when it was.
#[derive(Debug)]
pub(super) struct Latest<T>(BTreeMap<String, (u64, T)>);

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Latest<T> {
    /// Takes the place of the one before.
    pub(super) fn put(&mut self, edge: &str, at_ns: u64, value: T) {
        self.0.insert(edge.to_owned(), (at_ns, value));
    }

    /// Forgets those of all other edges.
    pub(super) fn keep(&mut self, edges: impl Fn(&str) -> bool) {
        self.0.retain(|edge, _| edges(edge));
    }

    /// All of them, as `tell` says them with their age in ms.
    pub(super) fn told(&self, now_ns: u64, tell: impl Fn(&T, u64) -> T) -> Vec<T> {
        let values = self.0.values();
        values
            .map(|(at_ns, value)| tell(value, now_ns.saturating_sub(*at_ns) / 1_000_000))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round() -> LightRound {
        LightRound {
            edge: "e".to_owned(),
            ..LightRound::default()
        }
    }

    #[test]
    fn rounds_are_told_until_they_are_asked_beyond() {
        let mut results = Results::default();
        assert_eq!(results.after(0, 0), (0, vec![]));
        (0..3).for_each(|_| results.push(5_000_000, round()));
        let (missed, rounds) = results.after(1, 12_000_000);
        assert_eq!((missed, rounds.len()), (0, 2));
        assert_eq!((rounds[0].sequence, rounds[0].age_ms), (2, 7));
        assert_eq!(results.after(3, 0), (0, vec![]));
        assert_eq!(results.after(4, 0).1.len(), 3, "of an earlier start");
    }

    #[test]
    fn what_is_not_kept_is_counted() {
        let mut results = Results::default();
        (0..MAX_LIGHT_ROUNDS + 10).for_each(|_| results.push(0, round()));
        let (missed, rounds) = results.after(4, 0);
        assert_eq!(missed, 6);
        assert_eq!(rounds.len(), MAX_LIGHT_ROUNDS_PER_ANSWER);
        assert_eq!(rounds[0].sequence, 11);
        assert_eq!(results.last(), MAX_LIGHT_ROUNDS as u64 + 10);
    }
}
