//! Whether an edge's path carries what it claims: when to test that, and what follows.
//!
//! A test is [`REQUESTS`] datagrams of the claimed size that nobody on the way may fragment. Small
//! requests were answered just before; so a path on which none of them comes back has an MTU that
//! someone on the way does not have and does not tell (a black hole).

use super::round::Pace;

/// One would do; the others are there for the one that is lost for another reason.
const REQUESTS: u32 = 3;
const INTERVAL_NS: u64 = 50_000_000;
const TIMEOUT_NS: u64 = 500_000_000;
/// Between two tests of a path.
const EVERY_NS: u64 = 3_600_000_000_000;
/// The same where it is not as large as it claims: what is mended is soon known.
const AGAIN_NS: u64 = 300_000_000_000;
/// So many tests fail in a row before it is said.
const MISSES: u32 = 2;

/// How the requests of a test follow each other.
pub(super) const PACE: Pace = Pace {
    requests: REQUESTS,
    interval_ns: INTERVAL_NS,
    timeout_ns: TIMEOUT_NS,
};

/// The tests of one edge.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tests {
    due_ns: u64,
    misses: u32,
}

impl Tests {
    /// Whether one is to follow a round that just ended with answers.
    pub(super) fn is_due(self, now_ns: u64) -> bool {
        self.due_ns <= now_ns
    }

    /// A test begins, or cannot be made: without its outcome the next one is later.
    pub(super) fn put_off(&mut self, now_ns: u64) {
        self.due_ns = now_ns + AGAIN_NS;
    }

    /// A test is over. Whether the path carries what it claims; `None` where that is not certain
    /// yet, and the next round is followed by another test.
    pub(super) fn done(&mut self, answered: bool, now_ns: u64) -> Option<bool> {
        if answered {
            *self = Self {
                due_ns: now_ns + EVERY_NS,
                misses: 0,
            };
            return Some(true);
        }
        self.misses = self.misses.saturating_add(1);
        let certain = self.misses >= MISSES;
        self.due_ns = now_ns + if certain { AGAIN_NS } else { 0 };
        certain.then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_path_is_tested_at_once_and_then_every_hour() {
        let mut tests = Tests::default();
        assert!(tests.is_due(SECOND));
        assert_eq!(tests.done(true, SECOND), Some(true));
        assert!(!tests.is_due(3_600 * SECOND) && tests.is_due(3_601 * SECOND));
    }

    #[test]
    fn two_misses_are_a_black_hole_and_it_is_looked_after_soon() {
        let mut tests = Tests::default();
        assert_eq!(tests.done(false, SECOND), None);
        assert!(tests.is_due(SECOND), "after the next round");
        assert_eq!(tests.done(false, 31 * SECOND), Some(false));
        assert!(!tests.is_due(330 * SECOND) && tests.is_due(331 * SECOND));
        assert_eq!(tests.done(false, 331 * SECOND), Some(false));
        assert_eq!(tests.done(true, 631 * SECOND), Some(true));
        // And one miss is none.
        assert_eq!(tests.done(false, 5_000 * SECOND), None);
        assert_eq!(tests.done(true, 5_030 * SECOND), Some(true));
    }
}
