//! The times of an edge's last rounds, small: most edges have a few buckets of times.

use crate::histogram::{index, upper_bound};

/// Buckets of 6 %.
const SUB_BITS: u32 = 4;
/// A window is the rounds of this generation and all of the last one.
const ROUNDS: u8 = 10;

/// The last 10 to 19 rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    now: Sparse,
    before: Sparse,
    rounds: u8,
}

/// `(bucket, count)`, ascending.
type Sparse = Vec<(u16, u16)>;

impl Window {
    /// Adds a round: `[upper_bound_ns, count]`.
    pub(super) fn add(&mut self, buckets: &[(u64, u64)]) {
        if self.rounds == ROUNDS {
            self.before = std::mem::take(&mut self.now);
            self.before.shrink_to_fit();
            self.rounds = 0;
        }
        self.rounds += 1;
        for &(bound, count) in buckets {
            let count = u16::try_from(count).unwrap_or(u16::MAX);
            // 976 buckets in all.
            let bucket = index(SUB_BITS, bound) as u16;
            match self.now.binary_search_by_key(&bucket, |entry| entry.0) {
                Ok(at) => self.now[at].1 = self.now[at].1.saturating_add(count),
                Err(at) => self.now.insert(at, (bucket, count)),
            }
        }
    }

    /// The values that these parts of a hundred of all times do not exceed, in ns; `None` without
    /// times.
    pub(super) fn percentiles<const N: usize>(&self, percents: [f64; N]) -> Option<[f64; N]> {
        let mut merged: Vec<(u16, u64)> = self
            .now
            .iter()
            .chain(&self.before)
            .map(|&(bucket, count)| (bucket, u64::from(count)))
            .collect();
        merged.sort_unstable();
        let buckets = merged.into_iter().map(|(bucket, count)| {
            let bucket = usize::from(bucket);
            let below = bucket
                .checked_sub(1)
                .map_or(0, |b| upper_bound(SUB_BITS, b) + 1);
            (below, upper_bound(SUB_BITS, bucket), count)
        });
        percentiles(&buckets.collect::<Vec<_>>(), percents)
    }
}

/// The median of one round, from its own fine buckets.
pub(super) fn median(sub_bits: u32, buckets: &[(u64, u64)]) -> Option<f64> {
    let buckets: Vec<_> = buckets
        .iter()
        .map(|&(bound, count)| {
            let bucket = index(sub_bits, bound);
            let below = bucket
                .checked_sub(1)
                .map_or(0, |b| upper_bound(sub_bits, b) + 1);
            (below, bound, count)
        })
        .collect();
    percentiles(&buckets, [50.0]).map(|[median]| median)
}

/// Of `(lowest, highest, count)`, ascending: values are taken as evenly spread in each bucket.
fn percentiles<const N: usize>(
    buckets: &[(u64, u64, u64)],
    percents: [f64; N],
) -> Option<[f64; N]> {
    let total: u64 = buckets.iter().map(|bucket| bucket.2).sum();
    if total == 0 {
        return None;
    }
    Some(percents.map(|percent| {
        let rank = percent / 100.0 * total as f64;
        let mut below = 0;
        for &(low, high, count) in buckets {
            if (below + count) as f64 >= rank && count > 0 {
                let part = ((rank - below as f64) / count as f64).clamp(0.0, 1.0);
                return low as f64 + part * high.saturating_sub(low) as f64;
            }
            below += count;
        }
        buckets.last().map_or(0.0, |bucket| bucket.1 as f64)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{Histogram, USER_SUB_BITS};

    fn round(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::new(USER_SUB_BITS);
        values.into_iter().for_each(|value| histogram.record(value));
        histogram
    }

    #[test]
    fn percentiles_are_within_a_bucket_of_the_truth() {
        let mut window = Window::default();
        for first in 0..10 {
            window.add(&round((0..100).map(|i| 100_000 + 1_000 * (10 * i + first))).to_buckets());
        }
        let [p50, p99] = window.percentiles([50.0, 99.0]).unwrap();
        assert!((p50 / 600_000.0 - 1.0).abs() < 0.07, "{p50}");
        assert!((p99 / 1_090_000.0 - 1.0).abs() < 0.07, "{p99}");
        assert_eq!(Window::default().percentiles([50.0]), None);
    }

    #[test]
    fn old_rounds_are_forgotten() {
        let mut window = Window::default();
        for _ in 0..10 {
            window.add(&round([1_000_000; 50]).to_buckets());
        }
        for _ in 0..10 {
            window.add(&round([1_000; 50]).to_buckets());
        }
        let [p99] = window.percentiles([99.0]).unwrap();
        assert!(p99 > 900_000.0);
        window.add(&round([1_000; 50]).to_buckets());
        let [p99] = window.percentiles([99.0]).unwrap();
        assert!(p99 < 1_100.0, "{p99}");
    }

    #[test]
    fn a_rounds_median_is_that_of_its_histogram() {
        let histogram = round((0..51).map(|i| 90_000 + 700 * i));
        let found = median(USER_SUB_BITS, &histogram.to_buckets()).unwrap();
        let expected = histogram.percentile(50.0).unwrap();
        assert!((found / expected - 1.0).abs() < 1e-3, "{found} {expected}");
    }
}
