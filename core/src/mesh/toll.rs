//! What a pair's pod network costs: each round of `pod-to-pod` over the `host-to-host` round
//! next to it.

use std::collections::VecDeque;

use super::beside::Beside;
use crate::stats::{MIN_PAIRS, PairedRatio, estimate, paired_ratio};

/// So many pairs of rounds are kept, half an hour of the default mesh.
pub const TOLL_PAIRS: usize = 60;

/// A round's mean and median, and when it ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures {
    pub(super) at_ms: u64,
    pub(super) probed: bool,
    pub(super) mean_ns: f64,
    pub(super) p50_ns: f64,
}

/// The last pairs of rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Toll {
    beside: Beside<Figures>,
    /// Logarithms of the ratios of means and of medians.
    logs: VecDeque<[f32; 2]>,
}

impl Toll {
    /// Adds a round; `pods`: of `pod-to-pod`. Two rounds are a pair where they ended within
    /// `apart_ms` of each other and both or none had the probe.
    pub(super) fn add(&mut self, pods: bool, round: Figures, apart_ms: u64) {
        let near = |a: &Figures, b: &Figures| {
            a.at_ms.abs_diff(b.at_ms) <= apart_ms && a.probed == b.probed
        };
        let Some([host, pod]) = self.beside.add(pods, round, near) else {
            return;
        };
        let log = |of: fn(&Figures) -> f64| (of(&pod).ln() - of(&host).ln()) as f32;
        let logs = [log(|round| round.mean_ns), log(|round| round.p50_ns)];
        if logs.iter().all(|log| log.is_finite()) {
            if self.logs.len() == TOLL_PAIRS {
                self.logs.pop_front();
            }
            self.logs.push_back(logs);
        }
    }

    /// How many pairs of rounds there are.
    pub(super) fn pairs(&self) -> usize {
        self.logs.len()
    }

    /// The ratios of means and of medians, as far as is known: exp of the mean log ratio. `None`
    /// without a pair.
    pub(super) fn ratios(&self) -> Option<[f64; 2]> {
        let count = self.logs.len() as f64;
        (count > 0.0).then(|| {
            [0, 1].map(|which| {
                let sum: f64 = self.logs.iter().map(|logs| f64::from(logs[which])).sum();
                (sum / count).exp()
            })
        })
    }

    /// The ratios of means and of medians with their intervals; `None` where there are too few
    /// pairs for one.
    pub(super) fn intervals(&self) -> Option<[PairedRatio; 2]> {
        let ones = vec![1.0; self.logs.len()];
        let of = |which: usize| {
            let path: Vec<f64> = self
                .logs
                .iter()
                .map(|l| f64::from(l[which]).exp())
                .collect();
            paired_ratio(&path, &ones).ok()
        };
        Some([of(0)?, of(1)?])
    }

    /// The 95 % interval of the ratio of means is from the ratio over this to the ratio times this;
    /// `None` where [`Self::intervals`] has none. By Student's t, whatever the number of pairs: some
    /// microseconds, where resampling takes hundreds.
    pub(super) fn interval_ratio(&self) -> Option<f64> {
        let means: Vec<f64> = self.logs.iter().map(|logs| f64::from(logs[0])).collect();
        let [low, high] = estimate(&means).ok()?.ci95?;
        (means.len() >= MIN_PAIRS).then(|| ((high - low) / 2.0).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn round(at_ms: u64, mean_ns: f64) -> Figures {
        Figures {
            at_ms,
            probed: false,
            mean_ns,
            p50_ns: mean_ns * 0.9,
        }
    }

    #[test]
    fn rounds_next_to_each_other_are_compared() {
        let mut toll = Toll::default();
        for number in 0..12 {
            let at = 30_000 * number;
            // Whatever slows both cancels, and either may come first.
            let slow = 1.0 + (number % 5) as f64;
            let (host, pod) = (round(at, 100e3 * slow), round(at + 500, 130e3 * slow));
            if number % 2 == 0 {
                toll.add(false, host, 15_000);
                toll.add(true, pod, 15_000);
            } else {
                toll.add(true, pod, 15_000);
                toll.add(false, host, 15_000);
            }
        }
        assert_eq!(toll.pairs(), 12);
        let [mean, median] = toll.ratios().unwrap();
        assert!((mean - 1.3).abs() < 1e-6 && (median - 1.3).abs() < 1e-6);
        let [mean, _] = toll.intervals().unwrap();
        assert!((mean.ratio - 1.3).abs() < 1e-6 && mean.resolved());
    }

    #[test]
    fn rounds_far_from_each_other_are_not() {
        let mut toll = Toll::default();
        toll.add(false, round(0, 1e5), 15_000);
        toll.add(true, round(30_500, 2e5), 15_000);
        assert_eq!((toll.pairs(), toll.ratios()), (0, None));
        // The later one waits on.
        toll.add(false, round(31_000, 1e5), 15_000);
        assert_eq!(toll.pairs(), 1);
        // With the probe and without are not the same.
        toll.add(false, round(60_000, 1e5), 15_000);
        let mut probed = round(60_500, 1e5);
        probed.probed = true;
        toll.add(true, probed, 15_000);
        assert_eq!(toll.pairs(), 1);
    }

    #[test]
    fn the_cheap_interval_is_nearly_that_of_resampling() {
        let mut random = SplitMix64::new(3);
        let mut toll = Toll::default();
        for number in 0..TOLL_PAIRS as u64 {
            let at = number * 30_000;
            toll.add(false, round(at, 1e5 * (1.0 + random.uniform())), 15_000);
            toll.add(true, round(at, 2e5 * (1.0 + random.uniform())), 15_000);
        }
        let [mean, _] = toll.intervals().unwrap();
        let cheap = toll.interval_ratio().unwrap();
        let resampled = (mean.ci95[1] / mean.ci95[0]).sqrt();
        assert!(resampled > 1.05, "{resampled} is no spread");
        let off = cheap.ln() / resampled.ln();
        assert!((off - 1.0).abs() < 0.08, "{cheap}, but {resampled}");
    }

    #[test]
    fn few_pairs_have_no_interval_and_old_ones_go() {
        let mut toll = Toll::default();
        for number in 0..200 {
            let at = number * 30_000;
            toll.add(false, round(at, 1e5), 15_000);
            toll.add(
                true,
                round(at, if number < 100 { 9e5 } else { 2e5 }),
                15_000,
            );
            assert_eq!(toll.intervals().is_some(), number >= 9);
            assert_eq!(toll.interval_ratio().is_some(), number >= 9);
        }
        assert_eq!(toll.pairs(), TOLL_PAIRS);
        assert!((toll.ratios().unwrap()[0] - 2.0).abs() < 1e-6);
        // A mean of nothing has no logarithm.
        toll.add(false, round(1, 0.0), 15_000);
        toll.add(true, round(1, 1.0), 15_000);
        assert!(toll.ratios().unwrap()[0].is_finite());
    }
}
