//! Means, ratios and shares, each with its 95 % interval.
//!
//! | figure | interval |
//! |---|---|
//! | [`estimate`]: mean over rounds | Student's t |
//! | [`paired_ratio`]: path over baseline | mean log ratio: Student's t, from 20 pairs on bootstrap |
//! | [`unpaired_ratio`]: rounds of one run over those of another | Welch's, of mean logarithms |
//! | [`share_ci95`]: share of samples | Wilson's score interval |
//!
//! All are deterministic. Input that has no logarithm or no mean is an error, never a NaN.

use crate::report::Estimate;

mod bootstrap;
mod paired;
mod student;
mod unpaired;

pub use paired::{BOOTSTRAP_PAIRS, MIN_PAIRS, PairedRatio, paired_ratio};
pub use student::{student_t, student_t_quantile};
pub use unpaired::{MIN_ROUNDS, UnpairedRatio, unpaired_ratio};

/// The confidence of every interval in a report.
pub const CONFIDENCE: f64 = 0.95;

/// The normal distribution's two-sided 95 % quantile.
const NORMAL_QUANTILE: f64 = 1.959_963_984_540_054;

/// Why there is no figure.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum StatsError {
    /// No values at all.
    #[error("there are no values to take a mean of; no round gave this figure")]
    Empty,
    /// Too few pairs for an interval that one may believe.
    #[error(
        "{pairs} good pairs of rounds are too few for an interval; at least {MIN_PAIRS} are needed: measure more pairs, or see why rounds are invalid"
    )]
    TooFewPairs {
        /// As many as there were.
        pairs: usize,
    },
    /// Too few rounds of two runs that nothing pairs.
    #[error(
        "{rounds} good rounds of one side are too few; at least {MIN_ROUNDS} are needed: measure more, or see why rounds are invalid"
    )]
    TooFewRounds {
        /// As many as there were on the side with fewer.
        rounds: usize,
    },
    /// One list is longer.
    #[error("{path} rounds of the path cannot be paired with {baseline} of the baseline")]
    Unpaired {
        /// Values of the path.
        path: usize,
        /// Values of the baseline.
        baseline: usize,
    },
    /// Infinite, not a number, or (where logarithms are taken) not above zero.
    #[error(
        "value {index} is {value}, which no mean can be taken of; the round that gave it measured nothing"
    )]
    Value {
        /// Where.
        index: usize,
        /// What.
        value: f64,
    },
}

/// The mean of per-round values with its 95 % interval by Student's t.
pub fn estimate(values: &[f64]) -> Result<Estimate, StatsError> {
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(StatsError::Value {
            index,
            value: values[index],
        });
    }
    let moments = Moments::of(values).ok_or(StatsError::Empty)?;
    let ci95 = moments.standard_error().map(|error| {
        let half = student_t_quantile(CONFIDENCE, values.len() - 1) * error;
        [moments.mean - half, moments.mean + half]
    });
    Ok(Estimate {
        mean: moments.mean,
        ci95,
    })
}

/// The 95 % interval of the share `part / total` of independent samples: Wilson's score interval
/// ("Probable inference, the law of succession, and statistical inference", JASA 1927), which
/// stays within 0 and 1 and holds for shares near them. `[0, 1]` without samples.
#[must_use]
pub fn share_ci95(part: u64, total: u64) -> [f64; 2] {
    if total == 0 {
        return [0.0, 1.0];
    }
    let (n, z2) = (total as f64, NORMAL_QUANTILE * NORMAL_QUANTILE);
    let p = part.min(total) as f64 / n;
    let scale = 1.0 / (1.0 + z2 / n);
    let centre = scale * (p + z2 / (2.0 * n));
    let half = scale * NORMAL_QUANTILE * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}

/// Mean and spread.
#[derive(Clone, Copy, Debug)]
struct Moments {
    n: usize,
    mean: f64,
    /// Sum of squared differences from the mean.
    squares: f64,
}

impl Moments {
    /// `None` without values.
    fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values
            .iter()
            .map(|value| (value - mean) * (value - mean))
            .sum();
        Some(Self {
            n: values.len(),
            mean,
            squares,
        })
    }

    /// Of the mean; `None` with fewer than two values.
    fn standard_error(&self) -> Option<f64> {
        let degrees = self.n.checked_sub(1).filter(|&degrees| degrees > 0)?;
        Some((self.squares / degrees as f64 / self.n as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{found} is not {expected}"
        );
    }

    #[test]
    fn a_mean_has_students_interval() {
        // Mean 5, standard deviation 2, n = 4: 5 ± 3.1824 · 2 / 2.
        let found = estimate(&[3.0, 5.0 - 2.0_f64.sqrt(), 5.0 + 2.0_f64.sqrt(), 7.0]).unwrap();
        close(found.mean, 5.0, 1e-12);
        let [low, high] = found.ci95.unwrap();
        close(high - low, 2.0 * 3.182_446, 1e-5);
        close(high + low, 10.0, 1e-12);
    }

    #[test]
    fn one_value_has_no_interval_and_none_no_mean() {
        assert_eq!(
            estimate(&[2.0]).unwrap(),
            Estimate {
                mean: 2.0,
                ci95: None
            }
        );
        assert_eq!(estimate(&[]), Err(StatsError::Empty));
        assert!(matches!(
            estimate(&[1.0, f64::NAN]),
            Err(StatsError::Value { index: 1, .. })
        ));
    }

    #[test]
    fn shares_have_wilsons_interval() {
        // Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
        for (part, total, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let found = share_ci95(part, total);
            close(found[0], low, 5e-5);
            close(found[1], high, 5e-5);
        }
        assert_eq!(share_ci95(0, 0), [0.0, 1.0]);
        assert_eq!(share_ci95(20, 20)[1], 1.0);
    }
}
