//! Times as histograms have them.

use std::collections::BTreeMap;

/// Bounds of round-trip times in ns: 10 µs to 1 s in steps 1-2-5.
pub const RTT_BOUNDS_NS: [u64; 16] = [
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
];

/// Bounds of stages in ns: 100 ns to 100 ms in steps 1-3-10.
pub const STAGE_BOUNDS_NS: [u64; 13] = [
    100,
    300,
    1_000,
    3_000,
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
];

/// Of native histograms: each bucket's bound is that of the one before by a factor of 2^(1/8),
/// 1.09.
pub(super) const NATIVE_SCHEMA: i32 = 3;
const NATIVE_BUCKETS_PER_OCTAVE: f64 = (1 << NATIVE_SCHEMA) as f64;
const NS_PER_SECOND: f64 = 1e9;

/// A distribution of times, in classic buckets by given bounds and in native ones.
///
/// What is added are buckets of another histogram. One that lies across a bound is counted above
/// it, so a time may be shown up to one of its own buckets too high, never too low.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    bounds_ns: &'static [u64],
    /// One for each bound, and one beyond the last; not cumulated.
    classic: Vec<u64>,
    /// By number: bucket `n` ends at `2^(n/8)` seconds. At most some 500, for so many are there in
    /// 64 bits of ns.
    native: BTreeMap<i32, u64>,
    /// Times of less than a nanosecond, which are in no native bucket.
    zeros: u64,
    sum_seconds: f64,
}

impl Buckets {
    /// No times yet; bounds ascend.
    #[must_use]
    pub fn new(bounds_ns: &'static [u64]) -> Self {
        Self {
            bounds_ns,
            classic: vec![0; bounds_ns.len() + 1],
            native: BTreeMap::new(),
            zeros: 0,
            sum_seconds: 0.0,
        }
    }

    /// Adds `(upper_bound_ns, count)` buckets whose values have this sum.
    pub fn add(&mut self, buckets: impl IntoIterator<Item = (u64, u64)>, sum_ns: f64) {
        for (upper_ns, count) in buckets {
            let place = self.bounds_ns.partition_point(|&bound| bound < upper_ns);
            if let Some(sum) = self.classic.get_mut(place) {
                *sum = sum.saturating_add(count);
            }
            let sum = match native_place(upper_ns) {
                Some(place) => self.native.entry(place).or_default(),
                None => &mut self.zeros,
            };
            *sum = sum.saturating_add(count);
        }
        self.sum_seconds += sum_ns / NS_PER_SECOND;
    }

    /// Bounds in seconds, the last infinite, and what lies between each and the one before.
    pub(super) fn classic(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds_ns.iter().map(|&ns| ns as f64 / NS_PER_SECOND);
        bounds
            .chain([f64::INFINITY])
            .zip(self.classic.iter().copied())
    }

    /// Numbers of native buckets, ascending, and what is in each.
    pub(super) fn native(&self) -> impl Iterator<Item = (i32, u64)> {
        self.native.iter().map(|(&place, &count)| (place, count))
    }

    /// Times of zero.
    pub(super) fn zeros(&self) -> u64 {
        self.zeros
    }

    /// The sum of all times.
    pub(super) fn sum_seconds(&self) -> f64 {
        self.sum_seconds
    }
}

/// The number of the native bucket of a time; zero has none.
fn native_place(ns: u64) -> Option<i32> {
    let octaves = (ns as f64 / NS_PER_SECOND).log2();
    (ns > 0).then(|| (octaves * NATIVE_BUCKETS_PER_OCTAVE).ceil() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_below_the_first_bound_that_holds_them_whole() {
        let mut times = Buckets::new(&RTT_BOUNDS_NS);
        // Exactly on a bound, across it, and beyond all bounds.
        times.add([(10_000, 2), (10_047, 3), (2_000_000_000, 1)], 6_000.0);
        let counts: Vec<_> = times.classic().filter(|&(_, count)| count > 0).collect();
        assert_eq!(counts, [(1e-5, 2), (2e-5, 3), (f64::INFINITY, 1)]);
        assert!((times.sum_seconds() - 6e-6).abs() < 1e-18);
    }

    #[test]
    fn a_native_bucket_holds_its_times_by_a_factor_of_nine_percent() {
        for ns in [1, 99, 10_000, 123_456, 999_999_999, 1_000_000_001, u64::MAX] {
            let place = f64::from(native_place(ns).unwrap());
            let seconds = ns as f64 / NS_PER_SECOND;
            let bound = |place: f64| (place / NATIVE_BUCKETS_PER_OCTAVE).exp2();
            assert!(bound(place - 1.0) < seconds, "{ns}");
            assert!(seconds <= bound(place), "{ns}");
        }
        // Powers of two are bounds themselves.
        assert_eq!(native_place(1_000_000_000), Some(0));
        assert_eq!(native_place(500_000_000), Some(-8));
        assert_eq!(native_place(0), None);
    }

    #[test]
    fn nothing_overflows() {
        let mut times = Buckets::new(&STAGE_BOUNDS_NS);
        times.add([(0, 1), (0, u64::MAX), (5, u64::MAX), (5, 1)], 0.0);
        assert_eq!(times.zeros(), u64::MAX);
        assert_eq!(times.native().last().map(|(_, n)| n), Some(u64::MAX));
    }
}
