//! Log-linear histograms of times: small, exact where it matters, and mergeable.
//!
//! Each octave (power of two) is divided into `2^sub_bits` buckets of equal width, and all
//! values below `2^(sub_bits + 1)` have a bucket of their own. A bucket is thus never wider than
//! `2^-sub_bits` of its values: 12.5 % for [`KERNEL_SUB_BITS`], 0.8 % for [`USER_SUB_BITS`]. This
//! is the layout of HdrHistogram, with the bucket's number taken from the value's leading bits,
//! so that an eBPF program finds it with one shift.
//!
//! A histogram travels as `[[upper_bound, count], …]`. The bounds of a layout are bounds of every
//! finer layout too, so merging such lists in a layout at least as fine loses nothing.

use crate::{api::Times, report::Distribution};

/// Precision of the histograms that the eBPF programs keep.
pub const KERNEL_SUB_BITS: u32 = 3;
/// Precision of the histograms that traffic threads keep.
pub const USER_SUB_BITS: u32 = 7;
/// The finest layout: buckets of 0.1 %, 55,000 of them.
pub const MAX_SUB_BITS: u32 = 10;

/// The number of buckets that all values of 64 bits need.
#[must_use]
pub const fn buckets(sub_bits: u32) -> usize {
    index(sub_bits, u64::MAX) + 1
}

/// The bucket of `value`.
#[must_use]
pub const fn index(sub_bits: u32, value: u64) -> usize {
    if value < 2 << sub_bits {
        return value as usize;
    }
    // At least 1, at most 63: `value` has more than `sub_bits + 1` bits.
    let shift = 63 - value.leading_zeros() - sub_bits;
    ((shift as usize) << sub_bits) + (value >> shift) as usize
}

/// The largest value of bucket `index`; `u64::MAX` for the last bucket and beyond.
#[must_use]
pub const fn upper_bound(sub_bits: u32, index: usize) -> u64 {
    if index < 2 << sub_bits {
        return index as u64;
    }
    if index >= buckets(sub_bits) {
        return u64::MAX;
    }
    let shift = (index >> sub_bits) - 1;
    let leading_bits = index - (shift << sub_bits);
    // For the last bucket the left shift drops its only bit, and 0 − 1 wraps to the maximum.
    ((leading_bits as u64 + 1) << shift).wrapping_sub(1)
}

/// A distribution of times in ns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    sub_bits: u32,
    /// All buckets from the start, so that recording never allocates.
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Histogram {
    /// An empty histogram with `2^sub_bits` buckets an octave, [`MAX_SUB_BITS`] at most.
    #[must_use]
    pub fn new(sub_bits: u32) -> Self {
        let sub_bits = sub_bits.min(MAX_SUB_BITS);
        Self {
            sub_bits,
            counts: vec![0; buckets(sub_bits)],
            count: 0,
            sum: 0,
            max: 0,
        }
    }

    /// The distribution that `times` describes. Choose the precision of its source.
    #[must_use]
    pub fn from_times(sub_bits: u32, times: &Times) -> Self {
        let mut histogram = Self::new(sub_bits);
        histogram.merge_times(times);
        histogram
    }

    /// Adds one value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Adds `n` equal values.
    pub fn record_n(&mut self, value: u64, n: u64) {
        if n == 0 {
            return;
        }
        self.add_to_bucket(value, n);
        self.sum = self.sum.saturating_add(value.saturating_mul(n));
        self.max = self.max.max(value);
    }

    /// Adds another histogram, of any precision. The coarser of the two layouts decides how
    /// precise the result is.
    pub fn merge(&mut self, other: &Self) {
        for (bound, n) in other.to_buckets() {
            self.add_to_bucket(bound, n);
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// Adds what travelled. The number of values is that of the buckets.
    pub fn merge_times(&mut self, times: &Times) {
        for &(bound, n) in &times.histogram {
            self.add_to_bucket(bound, n);
        }
        self.sum = self.sum.saturating_add(times.sum_ns);
        self.max = self.max.max(times.max_ns);
    }

    /// Adds buckets whose sum is known but whose maximum is not: the last bucket's upper bound
    /// stands for it.
    pub fn merge_buckets(&mut self, buckets: &[(u64, u64)], sum: u64) {
        for &(bound, n) in buckets {
            self.add_to_bucket(bound, n);
            if n > 0 {
                self.max = self.max.max(bound);
            }
        }
        self.sum = self.sum.saturating_add(sum);
    }

    fn add_to_bucket(&mut self, value: u64, n: u64) {
        if let Some(count) = self.counts.get_mut(index(self.sub_bits, value)) {
            *count = count.saturating_add(n);
            self.count = self.count.saturating_add(n);
        }
    }

    /// The number of values, exact.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of the values, exact.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest value, exact; 0 without values.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean, exact; `None` without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The value that `percent` of all values do not exceed; `None` without values.
    ///
    /// The rank `percent / 100 · count` falls into one bucket, whose values are taken as evenly
    /// spread from its smallest to its largest value: the result is interpolated between these
    /// two by the rank's place in the bucket. In the last occupied bucket the exact maximum takes
    /// the place of the largest value, so no percentile is above it and the 100th is it.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = (percent / 100.0).clamp(0.0, 1.0) * self.count as f64;
        let mut below = 0;
        for (index, &n) in self.counts.iter().enumerate().filter(|&(_, &n)| n > 0) {
            let up_to = below + n;
            let last = up_to == self.count;
            if up_to as f64 >= rank || last {
                let low = index
                    .checked_sub(1)
                    .map_or(0, |i| upper_bound(self.sub_bits, i) + 1);
                let high = if last {
                    self.max
                } else {
                    upper_bound(self.sub_bits, index)
                };
                let part = ((rank - below as f64) / n as f64).clamp(0.0, 1.0);
                let width = high.saturating_sub(low) as f64;
                return Some((low as f64 + part * width).min(self.max as f64));
            }
            below = up_to;
        }
        None
    }

    /// `[upper_bound, count]`, ascending, empty buckets left out.
    #[must_use]
    pub fn to_buckets(&self) -> Vec<(u64, u64)> {
        let occupied = self.counts.iter().enumerate().filter(|&(_, &n)| n > 0);
        occupied
            .map(|(index, &n)| (upper_bound(self.sub_bits, index), n))
            .collect()
    }

    /// As it travels between agents and controller.
    #[must_use]
    pub fn to_times(&self) -> Times {
        Times {
            count: self.count,
            sum_ns: self.sum,
            max_ns: self.max,
            histogram: self.to_buckets(),
        }
    }

    /// As it is reported; `None` without values.
    #[must_use]
    pub fn to_distribution(&self) -> Option<Distribution> {
        Some(Distribution {
            mean: self.mean()?,
            p50: self.percentile(50.0)?,
            p90: self.percentile(90.0)?,
            p99: self.percentile(99.0)?,
            p999: self.percentile(99.9)?,
            max: self.max,
            count: self.count,
            histogram: self.to_buckets(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn the_layout_is_that_of_the_kernel_side() {
        for value in 0..16 {
            assert_eq!(index(3, value), value as usize);
        }
        assert_eq!(index(3, 16), 16);
        assert_eq!(index(3, 17), 16);
        assert_eq!(index(3, 18), 17);
        assert_eq!(index(3, 31), 23);
        assert_eq!(index(3, 32), 24);
        assert_eq!(buckets(3), 496);
        assert_eq!(upper_bound(3, 15), 15);
        assert_eq!(upper_bound(3, 16), 17);
        assert_eq!(upper_bound(3, 495), u64::MAX);
        assert_eq!(upper_bound(3, 496), u64::MAX);
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        for sub_bits in 0..=MAX_SUB_BITS {
            let mut low = 0;
            for i in 0..buckets(sub_bits) {
                let high = upper_bound(sub_bits, i);
                assert_eq!(index(sub_bits, low), i, "{sub_bits}");
                assert_eq!(index(sub_bits, high), i, "{sub_bits}");
                assert!((high - low) as f64 <= low as f64 * 0.5_f64.powi(sub_bits as i32));
                low = high.wrapping_add(1);
            }
            assert_eq!(low, 0, "the last bucket ends at the largest value");
        }
    }

    fn noise(sub_bits: u32, seed: u64, values: usize) -> (Histogram, Vec<u64>) {
        let mut random = SplitMix64::new(seed);
        let mut histogram = Histogram::new(sub_bits);
        // Every octave up to 2^33 ns alike: times from nanoseconds to seconds.
        let mut all: Vec<u64> = (0..values)
            .map(|_| (33.0 * random.uniform()).exp2() as u64)
            .collect();
        all.iter().for_each(|&value| histogram.record(value));
        all.sort_unstable();
        (histogram, all)
    }

    #[test]
    fn merging_what_travelled_loses_nothing() {
        let (a, _) = noise(3, 1, 5_000);
        let (b, _) = noise(3, 2, 5_000);
        let mut direct = a.clone();
        direct.merge(&b);
        let mut travelled = Histogram::from_times(3, &a.to_times());
        travelled.merge_times(&b.to_times());
        assert_eq!(direct, travelled);
        assert_eq!(direct.count(), 10_000);
        assert_eq!(direct.sum(), a.sum() + b.sum());
        // A finer layout keeps a coarser one's bounds.
        assert_eq!(
            Histogram::from_times(7, &a.to_times()).to_times(),
            a.to_times()
        );
        // A coarser one gives what recording in it would have given.
        let (fine, all) = noise(7, 3, 5_000);
        let mut coarse = Histogram::new(3);
        coarse.merge(&fine);
        let mut recorded = Histogram::new(3);
        all.iter().for_each(|&value| recorded.record(value));
        assert_eq!(coarse, recorded);
    }

    #[test]
    fn percentiles_are_within_a_bucket_of_the_truth() {
        for sub_bits in [3, 7] {
            let (histogram, all) = noise(sub_bits, 4, 20_000);
            for percent in [1.0, 25.0, 50.0, 90.0, 99.0, 99.9] {
                let truth = all[(percent / 100.0 * 20_000.0) as usize - 1] as f64;
                let found = histogram.percentile(percent).unwrap();
                let width = truth * 0.5_f64.powi(sub_bits as i32) + 1.0;
                assert!(
                    (found - truth).abs() <= width,
                    "p{percent}: {found} for {truth}"
                );
            }
            assert_eq!(
                histogram.percentile(100.0),
                all.last().map(|&max| max as f64)
            );
        }
    }

    #[test]
    fn small_and_single_values_are_exact() {
        let mut histogram = Histogram::new(7);
        histogram.record(1_000_003);
        for percent in [50.0, 100.0] {
            let found = histogram.percentile(percent).unwrap();
            assert!(found <= 1_000_003.0 && found > 990_000.0);
        }
        assert_eq!(histogram.max(), 1_000_003);
        assert_eq!(histogram.mean(), Some(1_000_003.0));
        let mut histogram = Histogram::new(7);
        for value in 1..=100 {
            histogram.record(value);
        }
        assert_eq!(histogram.percentile(50.0), Some(50.0));
        assert_eq!(histogram.percentile(99.0), Some(99.0));
        assert_eq!(histogram.percentile(0.0), Some(1.0));
    }

    #[test]
    fn nothing_has_no_percentiles() {
        let empty = Histogram::new(7);
        assert_eq!(empty.percentile(50.0), None);
        assert_eq!(empty.mean(), None);
        assert_eq!(empty.to_distribution(), None);
        assert_eq!(empty.to_times(), Times::default());
    }

    #[test]
    fn a_clamped_last_bucket_never_shows_more_than_the_maximum() {
        // As an eBPF map of few buckets would hold it: 1 s in a bucket that ends at 1 ms.
        let mut histogram = Histogram::new(3);
        let times = Times {
            count: 1,
            sum_ns: 1_000_000_000,
            max_ns: 1_000_000_000,
            histogram: vec![(1_048_575, 1)],
        };
        histogram.merge_times(&times);
        assert_eq!(histogram.percentile(100.0), Some(1e9));
        let mut histogram = Histogram::new(3);
        histogram.merge_buckets(&[(1_048_575, 2), (2_097_151, 0)], 2_000_000);
        assert_eq!(histogram.max(), 1_048_575);
        assert_eq!(
            histogram.percentile(99.0).map(|p| p <= 1_048_575.0),
            Some(true)
        );
    }
}
