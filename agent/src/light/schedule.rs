//! When an edge's rounds begin.

use nettoll_core::api::LIGHT_FIRST_ROUND_MS;

const NS_PER_MS: u64 = 1_000_000;

/// The times of one edge's rounds: every period at its offset, and once more soon after it is
/// new. They do not depend on when the plan came, so that a new plan moves no edge that stays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When the first period began.
    pub(super) anchor_ns: u64,
    pub(super) period_ms: u32,
    pub(super) offset_ms: u32,
}

impl Times {
    /// The first round of an edge that is new.
    pub(super) fn first(&self, now_ns: u64) -> u64 {
        let soon = u64::from(self.offset_ms % LIGHT_FIRST_ROUND_MS) * NS_PER_MS;
        self.after(now_ns).min(now_ns + soon)
    }

    /// The next round that begins after this time.
    pub(super) fn after(&self, ns: u64) -> u64 {
        let period = u64::from(self.period_ms.max(1)) * NS_PER_MS;
        let first = self.anchor_ns + u64::from(self.offset_ms) * NS_PER_MS;
        match ns.checked_sub(first) {
            Some(since) => first + (since / period + 1) * period,
            None => first,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn times(offset_ms: u32) -> Times {
        Times {
            anchor_ns: 100 * SECOND,
            period_ms: 30_000,
            offset_ms,
        }
    }

    #[test]
    fn rounds_come_every_period_at_the_offset() {
        let times = times(25_000);
        assert_eq!(times.after(0), 125 * SECOND);
        assert_eq!(times.after(125 * SECOND - 1), 125 * SECOND);
        assert_eq!(times.after(125 * SECOND), 155 * SECOND);
        assert_eq!(times.after(1_000 * SECOND), 1_025 * SECOND);
    }

    #[test]
    fn a_new_edge_has_a_round_within_ten_seconds() {
        for offset_ms in (0..30_000).step_by(500) {
            for now in (100 * SECOND..131 * SECOND).step_by(SECOND as usize / 3) {
                let first = times(offset_ms).first(now);
                assert!(
                    (now..now + 10 * SECOND).contains(&first),
                    "{offset_ms} {now}"
                );
            }
        }
    }
}
