//! One edge: what its rounds say.

use super::{joint, window::Window};
use crate::api::{LIGHT_IDLE_SECONDS, LightPathMtu, LightRound};

/// An edge is down after so many rounds without any answer.
pub const LOST_ROUNDS: u8 = 3;
/// After so many periods without a round nothing is known of an edge any more.
const STALE_PERIODS: u64 = 4;
/// A test of a path's MTU, which there is every hour, says nothing after this time.
const MTU_TEST_HOLDS_MS: u64 = 3 * 3_600_000;
/// What is older says nothing of now, and no agent goes on for longer without a controller.
pub(super) const MAX_AGE_MS: u64 = LIGHT_IDLE_SECONDS as u64 * 1_000;

/// What becomes of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Round {
    /// It is counted.
    Counted,
    /// The agent could not make it: it says nothing about the network.
    Failed,
    /// It is of an edge that the plan has no more: its agent had not heard of that yet.
    Ended,
    /// It is of an edge that is in no plan.
    Unknown,
    /// Its numbers contradict each other.
    Senseless,
    /// It ended too long ago, by the agent's word.
    Old,
}

impl Round {
    /// A word for it, as in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Failed => "failed",
            Self::Ended => "ended",
            Self::Unknown => "unknown",
            Self::Senseless => "senseless",
            Self::Old => "old",
        }
    }

    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Counted,
        Self::Failed,
        Self::Ended,
        Self::Unknown,
        Self::Senseless,
        Self::Old,
    ];
}

/// The state of an edge.
#[derive(Clone, Debug, Default)]
pub(super) struct EdgeState {
    pub(super) requests: u64,
    pub(super) lost: u64,
    /// Rounds without any answer since the last with one.
    silent: u8,
    /// `None` until an answer came or is missed for long enough.
    pub(super) up: Option<bool>,
    /// When the last round ended.
    last_ms: Option<u64>,
    /// When the last round with an answer ended.
    pub(super) last_success_ms: Option<u64>,
    pub(super) window: Window,
    /// The path carries what it claims, and when that was tested.
    path_mtu: Option<(bool, u64)>,
}

impl EdgeState {
    /// Takes in a test of the path's MTU.
    pub(super) fn set_path_mtu(&mut self, test: &LightPathMtu, now_ms: u64) {
        self.path_mtu = Some((test.ok, now_ms.saturating_sub(test.age_ms)));
    }

    /// Whether the path carries what it claims, as far as that still holds.
    pub(super) fn path_mtu_ok(&self, now_ms: u64) -> Option<bool> {
        let (ok, at_ms) = self.path_mtu?;
        (now_ms.saturating_sub(at_ms) <= MTU_TEST_HOLDS_MS).then_some(ok)
    }

    /// Takes in a round and says when it ended, by the caller's clock.
    pub(super) fn add(&mut self, round: &LightRound, now_ms: u64) -> u64 {
        let at_ms = now_ms.saturating_sub(round.age_ms);
        self.requests = self.requests.saturating_add(round.sent);
        self.lost = self.lost.saturating_add(round.lost);
        self.last_ms = self.last_ms.max(Some(at_ms));
        if round.answered > 0 {
            self.silent = 0;
            self.up = Some(true);
            self.last_success_ms = self.last_success_ms.max(Some(at_ms));
            self.window.add(&round.rtt.histogram);
        } else {
            self.silent = self.silent.saturating_add(1);
            if self.silent >= LOST_ROUNDS {
                self.up = Some(false);
            }
        }
        at_ms
    }

    /// What it says still holds.
    pub(super) fn is_fresh(&self, now_ms: u64, period_ms: u32) -> bool {
        let most = STALE_PERIODS * u64::from(period_ms);
        self.last_ms
            .is_some_and(|last| now_ms.saturating_sub(last) <= most)
    }
}

/// What a round is worth. An agent of another version, or one that is not ours at all, may tell
/// anything.
pub(super) fn judge(round: &LightRound) -> Round {
    if round.failed.is_some() || round.sent == 0 {
        return Round::Failed;
    }
    if round.age_ms > MAX_AGE_MS {
        return Round::Old;
    }
    let counted = round
        .rtt
        .histogram
        .iter()
        .try_fold(0_u64, |sum, &(_, count)| sum.checked_add(count));
    let ascending = round
        .rtt
        .histogram
        .windows(2)
        .all(|pair| pair[0].0 < pair[1].0);
    let adds_up = round.answered.checked_add(round.lost) == Some(round.sent)
        && counted == Some(round.answered)
        && round.rtt.count == round.answered;
    if adds_up && ascending && joint::sensible(&round.stages) {
        Round::Counted
    } else {
        Round::Senseless
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::round, *};

    #[test]
    fn an_edge_is_down_after_three_rounds_without_an_answer() {
        let mut edge = EdgeState::default();
        assert_eq!(edge.up, None);
        let mut add = |answered, lost| {
            edge.add(&round("x", answered, lost, 1e5), 1_000);
            edge.up
        };
        assert_eq!(add(0, 50), None);
        assert_eq!(add(1, 49), Some(true));
        assert_eq!(add(0, 50), Some(true));
        assert_eq!(add(0, 50), Some(true));
        assert_eq!(add(0, 50), Some(false));
        assert_eq!(add(50, 0), Some(true));
        assert_eq!((edge.requests, edge.lost), (300, 249));
    }

    #[test]
    fn nothing_is_known_without_news() {
        let mut edge = EdgeState::default();
        let mut old = round("x", 50, 0, 1e5);
        old.age_ms = 600_000;
        assert_eq!(judge(&old), Round::Counted);
        assert_eq!(edge.add(&old, 1_000_000), 400_000);
        assert!(edge.is_fresh(520_000, 30_000) && !edge.is_fresh(520_001, 30_000));
        // The caller's clock may stand before the last round.
        assert!(edge.is_fresh(0, 30_000));
        old.age_ms = u64::MAX;
        assert_eq!(judge(&old), Round::Old);
    }

    #[test]
    fn a_test_of_the_mtu_holds_for_some_hours() {
        let mut edge = EdgeState::default();
        assert_eq!(edge.path_mtu_ok(0), None);
        let test = LightPathMtu {
            edge: "x".to_owned(),
            age_ms: 1_000,
            bytes: 1_450,
            ok: false,
            refused: None,
        };
        edge.set_path_mtu(&test, 5_000);
        assert_eq!(edge.path_mtu_ok(10_804_000), Some(false));
        assert_eq!(edge.path_mtu_ok(10_804_001), None);
    }

    #[test]
    fn what_contradicts_itself_is_not_counted() {
        let good = round("x", 49, 1, 1e5);
        assert_eq!(judge(&good), Round::Counted);
        let with = |change: fn(&mut LightRound)| {
            let mut round = good.clone();
            change(&mut round);
            judge(&round)
        };
        assert_eq!(with(|r| r.failed = Some("x".to_owned())), Round::Failed);
        assert_eq!(with(|r| r.sent = 0), Round::Failed);
        assert_eq!(with(|r| r.sent = 51), Round::Senseless);
        assert_eq!(with(|r| r.lost = u64::MAX), Round::Senseless);
        assert_eq!(with(|r| r.rtt.count = 7), Round::Senseless);
        assert_eq!(
            with(|r| r.rtt.histogram = vec![(5, u64::MAX), (6, 50)]),
            Round::Senseless
        );
        assert_eq!(
            with(|r| r.rtt.histogram = vec![(6, 24), (5, 25)]),
            Round::Senseless
        );
    }
}
