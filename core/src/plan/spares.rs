//! When further pairs of rounds stand in for disturbed ones.

use std::collections::BTreeSet;

/// So many times the planned pairs are run at most, spare ones included.
pub const MOST_PAIRS_TIMES: u32 = 3;

/// Whether a spare block of rounds is to be run, so that whatever is compared has as many pairs as
/// planned: each two runs in each state of the probe, and each run with the probe and without.
///
/// `settled` has, for each run, the pair and the state of the probe of its rounds that were not
/// disturbed. Nothing else decides: a round's figures do not, so that leaving out disturbed ones
/// and adding others is no choice of results, and a round that failed by itself is not replaced.
/// Where not one pair is settled another cause than a passing disturbance is at work, and no spare
/// would help.
#[must_use]
pub fn lacks_pairs(settled: &[BTreeSet<(u32, bool)>], pairs: u32) -> bool {
    let lacks = |complete: usize| complete > 0 && complete < pairs as usize;
    settled.iter().enumerate().any(|(number, run)| {
        let both_states = run
            .iter()
            .filter(|&&(pair, probe)| probe && run.contains(&(pair, false)));
        let with = |other: &BTreeSet<_>, state| {
            let shared = run.intersection(other);
            shared.filter(|&&(_, probe)| probe == state).count()
        };
        // From the run itself on: its own rounds of one state.
        let mut others = settled.iter().skip(number);
        lacks(both_states.count())
            || others.any(|other| [false, true].into_iter().any(|s| lacks(with(other, s))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten pairs of rounds in both states, without those named.
    fn settled(disturbed: &[(u32, bool)]) -> BTreeSet<(u32, bool)> {
        let all = (0..10).flat_map(|pair| [(pair, false), (pair, true)]);
        all.filter(|round| !disturbed.contains(round)).collect()
    }

    #[test]
    fn whatever_is_compared_gets_its_pairs() {
        assert!(!lacks_pairs(&[settled(&[]), settled(&[])], 10));
        let disturbed = settled(&[(3, false)]);
        assert!(lacks_pairs(&[settled(&[]), disturbed.clone()], 10));
        assert!(lacks_pairs(std::slice::from_ref(&disturbed), 10));
        // A further pair of the disturbed state makes the tolls, but not the probe's own cost.
        let with_one = |rounds: &[(u32, bool)]| {
            let mut settled = disturbed.clone();
            settled.extend(rounds);
            settled
        };
        assert!(lacks_pairs(&[with_one(&[(10, false)])], 10));
        let both = with_one(&[(10, false), (10, true)]);
        assert!(!lacks_pairs(std::slice::from_ref(&both), 10));
        // Each run has ten, but not in the same pairs.
        let other = settled(&[(4, false)])
            .into_iter()
            .chain([(11, false), (11, true)])
            .collect();
        assert!(lacks_pairs(&[both, other], 10));
    }

    #[test]
    fn rounds_of_one_state_are_enough_where_no_others_are_planned() {
        let without = |pairs| (0..pairs).map(|pair| (pair, false)).collect();
        assert!(!lacks_pairs(&[without(10)], 10));
        assert!(lacks_pairs(&[without(9)], 10));
    }

    #[test]
    fn what_is_always_disturbed_is_given_up() {
        assert!(!lacks_pairs(&[settled(&[]), BTreeSet::new()], 10));
        assert!(!lacks_pairs(&[], 10));
    }
}
