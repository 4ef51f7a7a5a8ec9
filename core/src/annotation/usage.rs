//! What namespaces used of their limits.
//!
//! Times are Unix seconds, since the next leader goes on counting from what the last one wrote down.
//! They are kept in slices of ten minutes: a test counts for an hour and up to ten minutes more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Usage;

const SLICE_SECONDS: u64 = 600;
/// Slices that count besides the one of now.
const SLICES: u64 = 3_600 / SLICE_SECONDS;
/// Longest text: an object of Kubernetes has 256 KiB for all of its annotations.
const MAX_TEXT: usize = 64 << 10;

/// The tests of the last hour, by the namespace of their source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usages(BTreeMap<String, Vec<Slice>>);

/// Which slice of time, how many tests, how many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slice(u64, u32, u32);

impl Slice {
    /// One from a little after now was written by a clock that is ahead.
    fn counts(self, now_seconds: u64) -> bool {
        let now = now_seconds / SLICE_SECONDS;
        (now.saturating_sub(SLICES)..=now + 1).contains(&self.0)
    }
}

impl Usages {
    /// So much was begun now.
    pub fn add(&mut self, namespace: &str, usage: Usage, now_seconds: u64) {
        self.0.retain(|_, slices| {
            slices.retain(|slice| slice.counts(now_seconds));
            !slices.is_empty()
        });
        let slices = self.0.entry(namespace.to_owned()).or_default();
        let number = now_seconds / SLICE_SECONDS;
        match slices.iter_mut().find(|slice| slice.0 == number) {
            Some(Slice(_, tests, seconds)) => {
                *tests = tests.saturating_add(usage.tests);
                *seconds = seconds.saturating_add(usage.seconds);
            }
            None => slices.push(Slice(number, usage.tests, usage.seconds)),
        }
    }

    /// What was begun in the hour before now.
    #[must_use]
    pub fn of(&self, namespace: &str, now_seconds: u64) -> Usage {
        let slices = self.0.get(namespace).into_iter().flatten();
        let recent = slices.filter(|slice| slice.counts(now_seconds));
        recent.fold(Usage::default(), |sum, Slice(_, tests, seconds)| Usage {
            tests: sum.tests.saturating_add(*tests),
            seconds: sum.seconds.saturating_add(*seconds),
        })
    }

    /// For the next leader. Where so many namespaces test that it is too long, those that used most
    /// are in it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let tests = |slices: &[Slice]| slices.iter().map(|slice| u64::from(slice.1)).sum::<u64>();
        let mut most: Vec<_> = self.0.iter().collect();
        most.sort_by_key(|(_, slices)| std::cmp::Reverse(tests(slices)));
        let mut left = MAX_TEXT;
        let kept = most.into_iter().take_while(|(name, slices)| {
            // A slice's numbers have 36 digits at most.
            let size = name.len() + 8 + 48 * slices.len();
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        });
        let kept: BTreeMap<_, _> = kept.collect();
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// What [`Self::to_text`] wrote; nothing where it did not.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    fn usage(tests: u32, seconds: u32) -> Usage {
        Usage { tests, seconds }
    }

    #[test]
    fn an_hour_counts_for_its_own_namespace_whoever_leads() {
        let (mut usages, start) = (Usages::default(), 1_795_000_000);
        usages.add("a", usage(2, 6), start);
        usages.add("a", usage(1, 3), start + HOUR / 2);
        usages.add("b", usage(1, 1), start + HOUR / 2);
        let mut next = Usages::of_text(&usages.to_text());
        assert_eq!(next, usages);
        assert_eq!(next.of("a", start + HOUR / 2), usage(3, 9));
        assert_eq!(next.of("a", start + HOUR - 1), usage(3, 9));
        assert_eq!(next.of("a", start + HOUR + 2 * SLICE_SECONDS), usage(1, 3));
        assert_eq!(next.of("c", start), usage(0, 0));
        next.add("b", usage(1, 1), start + 2 * HOUR);
        assert_eq!(next.0.len(), 1);
        // A clock that stands an hour before says nothing of now.
        assert_eq!(next.of("b", start), usage(0, 0));
        assert_eq!(next.of("b", start + 2 * HOUR - SLICE_SECONDS), usage(1, 1));
    }

    #[test]
    fn what_is_written_down_is_bounded_and_what_is_not_ours_is_nothing() {
        let mut usages = Usages::default();
        for number in 0..5_000 {
            usages.add(&format!("{number:063}"), usage(number, u32::MAX), 600_000);
        }
        let text = usages.to_text();
        assert!(
            (MAX_TEXT / 2..=MAX_TEXT).contains(&text.len()),
            "{}",
            text.len()
        );
        let kept = Usages::of_text(&text);
        assert_eq!(kept.of(&format!("{:063}", 4_999), 600_000).tests, 4_999);
        assert_eq!(kept.of(&format!("{:063}", 1), 600_000).tests, 0);
        for strange in ["", "[]", r#"{"a": [[1, -1, 2]]}"#, r#"{"a": 1}"#] {
            assert_eq!(Usages::of_text(strange), Usages::default());
        }
    }
}
