//! What namespaces used of their limits.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use nettoll_core::annotation::Usage;

const HOUR: Duration = Duration::from_secs(3_600);

/// The tests of the last hour, by the namespace of their source. A new leader begins anew.
#[derive(Default)]
pub(super) struct Usages(HashMap<String, VecDeque<(Instant, Usage)>>);

impl Usages {
    /// So much was begun now.
    pub(super) fn add(&mut self, namespace: &str, usage: Usage, now: Instant) {
        self.0.retain(|_, tests| {
            while tests.front().is_some_and(|test| now - test.0 >= HOUR) {
                tests.pop_front();
            }
            !tests.is_empty()
        });
        let tests = self.0.entry(namespace.to_owned()).or_default();
        tests.push_back((now, usage));
    }

    /// What was begun in the hour before now.
    pub(super) fn of(&self, namespace: &str, now: Instant) -> Usage {
        let tests = self.0.get(namespace).into_iter().flatten();
        let recent = tests.filter(|test| now - test.0 < HOUR);
        recent.fold(Usage::default(), |sum, (_, usage)| Usage {
            tests: sum.tests.saturating_add(usage.tests),
            seconds: sum.seconds.saturating_add(usage.seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_counts_for_its_own_namespace() {
        let (mut usages, start) = (Usages::default(), Instant::now());
        let usage = |tests, seconds| Usage { tests, seconds };
        usages.add("a", usage(2, 6), start);
        usages.add("a", usage(1, 3), start + HOUR / 2);
        usages.add("b", usage(1, 1), start + HOUR / 2);
        assert_eq!(usages.of("a", start + HOUR / 2), usage(3, 9));
        assert_eq!(usages.of("a", start + HOUR), usage(1, 3));
        usages.add("b", usage(1, 1), start + HOUR * 2);
        assert_eq!(usages.0.len(), 1);
    }
}
