//! Rounds that were stamped by clocks that are wrong.

use super::*;

/// A round whose agent says that it ended so long ago.
fn stamped(edge: &str, answered: u64, age_ms: u64) -> LightRound {
    LightRound {
        age_ms,
        ..round(edge, answered, 50 - answered, 1e5)
    }
}

#[test]
fn results_of_a_skewed_clock_are_stale_and_never_wrong() {
    let (_, mut state, [host, pod]) = state();
    let now = 3_600_000;
    // Hours ahead of this clock: not counted at all.
    for age_ms in [3_600_000, u64::MAX] {
        let (judged, accepted) = state.take("n1", &stamped(&host, 50, age_ms), now);
        assert_eq!((judged, accepted.is_none()), (Round::Old, true));
    }
    assert_eq!(state.edges(now, false).count(), 0);

    // Five minutes: it tells of then, and of nothing that is now.
    state.take("n1", &stamped(&host, 50, 300_000), now);
    assert_eq!(state.edges(now, false).count(), 0);
    state.take("n1", &stamped(&host, 50, 0), now);
    let last = |state: &State| state.edges(now, false).next().unwrap().last_success_ms;
    assert_eq!(last(&state), Some(now));
    // What comes later and is older does not turn time back.
    state.take("n1", &stamped(&host, 50, 200_000), now);
    assert_eq!(last(&state), Some(now));
    // Rounds of two times are no pair: there is no toll of them.
    state.take("n1", &stamped(&pod, 50, 100_000), now);
    for edge in state.edges(now, false) {
        assert_eq!(edge.toll.and_then(|toll| toll.ratios()), None);
    }

    // A stamp before the controller's own beginning, and a controller whose clock stood.
    state.take("n1", &stamped(&pod, 50, 599_999), 1_000);
    assert!(
        state
            .edges(0, false)
            .all(|edge| edge.last_success_ms <= Some(now))
    );
}
