//! The ratio of two paths from pairs of rounds.

use super::{CONFIDENCE, Moments, StatsError, bootstrap, student_t_quantile};

/// Fewer pairs give no ratio.
pub const MIN_PAIRS: usize = 10;
/// From so many pairs on the interval is by bootstrap: below, resamples know too little of the
/// tails.
pub const BOOTSTRAP_PAIRS: usize = 20;

/// A path's figure over its baseline's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedRatio {
    /// exp of the mean log ratio.
    pub ratio: f64,
    /// 95 % interval of `ratio`.
    pub ci95: [f64; 2],
    /// How many pairs.
    pub pairs: usize,
}

impl PairedRatio {
    /// The interval does not contain 1.
    #[must_use]
    pub fn resolved(&self) -> bool {
        let [low, high] = self.ci95;
        !(low <= 1.0 && 1.0 <= high)
    }
}

/// Path over baseline, where `path[i]` and `baseline[i]` were measured one after the other.
///
/// What slows both rounds of a pair alike (a busy neighbour, heat) cancels in their ratio. The
/// interval is that of the mean log ratio: by Student's t, from [`BOOTSTRAP_PAIRS`] on by
/// bootstrap.
pub fn paired_ratio(path: &[f64], baseline: &[f64]) -> Result<PairedRatio, StatsError> {
    if path.len() != baseline.len() {
        return Err(StatsError::Unpaired {
            path: path.len(),
            baseline: baseline.len(),
        });
    }
    for values in [path, baseline] {
        let bad = values
            .iter()
            .position(|value| !(value.is_finite() && *value > 0.0));
        if let Some(index) = bad {
            return Err(StatsError::Value {
                index,
                value: values[index],
            });
        }
    }
    let pairs = path.len();
    if pairs < MIN_PAIRS {
        return Err(StatsError::TooFewPairs { pairs });
    }
    // The difference of logarithms stays finite where the ratio itself would not.
    let logs: Vec<f64> = path
        .iter()
        .zip(baseline)
        .map(|(p, b)| p.ln() - b.ln())
        .collect();
    let moments = Moments::of(&logs).ok_or(StatsError::Empty)?;
    let half = if pairs >= BOOTSTRAP_PAIRS {
        bootstrap::half_width(&logs)
    } else {
        let error = moments.standard_error();
        error.map(|error| student_t_quantile(CONFIDENCE, pairs - 1) * error)
    };
    let half = half.ok_or(StatsError::TooFewPairs { pairs })?;
    Ok(PairedRatio {
        ratio: moments.mean.exp(),
        ci95: [(moments.mean - half).exp(), (moments.mean + half).exp()],
        pairs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn a_ratio_has_the_interval_of_its_logarithms() {
        // Log ratios 0 and ln 4 in turn: mean ln 2, standard error ln 2 / √9.
        let path: Vec<f64> = (0..10)
            .map(|i| if i % 2 == 0 { 3.0 } else { 12.0 })
            .collect();
        let found = paired_ratio(&path, &[3.0; 10]).unwrap();
        assert!((found.ratio - 2.0).abs() < 1e-12);
        let half = 2.262_157 * 2.0_f64.ln() / 3.0;
        assert!((found.ci95[0] - 2.0 * (-half).exp()).abs() < 1e-5);
        assert!((found.ci95[1] - 2.0 * half.exp()).abs() < 1e-5);
        assert!(found.resolved());
        assert_eq!(found.pairs, 10);
    }

    #[test]
    fn what_both_rounds_of_a_pair_share_cancels() {
        let baseline: Vec<f64> = (0..20).map(|i| f64::from(i + 1)).collect();
        let path: Vec<f64> = baseline.iter().map(|value| 2.5 * value).collect();
        let found = paired_ratio(&path, &baseline).unwrap();
        assert!((found.ratio - 2.5).abs() < 1e-12);
        assert!(found.ci95.iter().all(|bound| (bound - 2.5).abs() < 1e-9));
    }

    #[test]
    fn equal_values_do_not_resolve() {
        let found = paired_ratio(&[7.0; 25], &[7.0; 25]).unwrap();
        assert_eq!(found.ci95, [1.0, 1.0]);
        assert!(!found.resolved());
    }

    #[test]
    fn bad_input_is_an_error() {
        assert_eq!(
            paired_ratio(&[1.0; 9], &[1.0; 9]),
            Err(StatsError::TooFewPairs { pairs: 9 })
        );
        assert_eq!(
            paired_ratio(&[1.0; 10], &[1.0; 11]),
            Err(StatsError::Unpaired {
                path: 10,
                baseline: 11
            })
        );
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut values = [1.0; 10];
            values[3] = bad;
            let found = paired_ratio(&[1.0; 10], &values);
            assert!(
                matches!(found, Err(StatsError::Value { index: 3, .. })),
                "{found:?}"
            );
        }
    }

    #[test]
    fn the_same_data_give_the_same_interval() {
        let mut random = SplitMix64::new(5);
        let path: Vec<f64> = (0..30).map(|_| 1.0 + random.uniform()).collect();
        let first = paired_ratio(&path, &[1.0; 30]).unwrap();
        assert_eq!(paired_ratio(&path, &[1.0; 30]).unwrap(), first);
    }
}
