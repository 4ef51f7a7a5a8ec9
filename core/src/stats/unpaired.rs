//! The ratio of two figures that were measured apart from each other.

use super::{CONFIDENCE, Moments, StatsError, student_t_quantile};

/// A figure over another one, with the 95 % interval of their ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnpairedRatio {
    /// exp of the difference of the mean logarithms.
    pub ratio: f64,
    /// 95 % interval of `ratio`.
    pub ci95: [f64; 2],
}

/// `new` over `old`, from values of rounds of two runs that nothing pairs.
///
/// The interval is Welch's ("The generalization of 'Student's' problem", Biometrika 1947) for the
/// difference of the mean logarithms, with the degrees of freedom rounded down. It knows what
/// differs within each run and nothing of what differs between days.
///
/// # Errors
/// With fewer than two values on a side, or values that have no logarithm.
pub fn unpaired_ratio(new: &[f64], old: &[f64]) -> Result<UnpairedRatio, StatsError> {
    let [new, old] = [logarithms(new)?, logarithms(old)?];
    let squares = [&new, &old].map(|moments| moments.standard_error().map(|error| error * error));
    let [Some(of_new), Some(of_old)] = squares else {
        let pairs = new.n.min(old.n);
        return Err(StatsError::TooFewPairs { pairs });
    };
    let sum = of_new + of_old;
    let part = |square: f64, moments: &Moments| square * square / (moments.n - 1) as f64;
    let degrees = sum * sum / (part(of_new, &new) + part(of_old, &old));
    // Without any difference within either side there is none to doubt.
    let half = if sum > 0.0 {
        student_t_quantile(CONFIDENCE, (degrees as usize).max(1)) * sum.sqrt()
    } else {
        0.0
    };
    Ok(UnpairedRatio::of(new.mean - old.mean, half))
}

impl UnpairedRatio {
    /// The ratio of two ratios with their 95 % intervals, each of which is symmetric on the scale of
    /// logarithms: half-widths of independent figures add up by their squares.
    #[must_use]
    pub fn of_ratios((new, new_ci95): (f64, [f64; 2]), (old, old_ci95): (f64, [f64; 2])) -> Self {
        let half = |[low, high]: [f64; 2]| (high.ln() - low.ln()) / 2.0;
        Self::of(new.ln() - old.ln(), half(new_ci95).hypot(half(old_ci95)))
    }

    fn of(log: f64, half: f64) -> Self {
        Self {
            ratio: log.exp(),
            ci95: [(log - half).exp(), (log + half).exp()],
        }
    }
}

fn logarithms(values: &[f64]) -> Result<Moments, StatsError> {
    let bad = |value: &f64| !(value.is_finite() && *value > 0.0);
    if let Some(index) = values.iter().position(bad) {
        let value = values[index];
        return Err(StatsError::Value { index, value });
    }
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    Moments::of(&logs).ok_or(StatsError::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn the_interval_is_welchs() {
        // Logarithms 1 ± 0.2 (n = 4, standard error 0.11547) and 0 ± 0.1 (n = 2, 0.1): the degrees
        // of freedom are 3.42, and Student's t at 3 is 3.1824.
        let of = |logs: &[f64]| logs.iter().map(|log: &f64| log.exp()).collect::<Vec<_>>();
        let found = unpaired_ratio(&of(&[0.8, 1.2, 0.8, 1.2]), &of(&[-0.1, 0.1])).unwrap();
        assert!((found.ratio - 1.0_f64.exp()).abs() < 1e-12);
        let half = 3.182_446 * (0.115_470_f64.powi(2) + 0.01).sqrt();
        assert!((found.ci95[1].ln() - 1.0 - half).abs() < 1e-4, "{found:?}");
        assert!((found.ci95[0].ln() - 1.0 + half).abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn the_interval_covers_the_truth_as_often_as_it_says() {
        let mut random = SplitMix64::new(11);
        // Uniform noise of another width and number on either side.
        let mut side = |rounds: usize, width: f64, centre: f64| {
            let noise = |_| centre * (width * (random.uniform() - 0.5)).exp();
            (0..rounds).map(noise).collect::<Vec<_>>()
        };
        let runs = 4_000;
        let covered = (0..runs).filter(|_| {
            let [low, high] = unpaired_ratio(&side(10, 0.3, 3.0), &side(14, 0.1, 2.0))
                .unwrap()
                .ci95;
            low <= 1.5 && 1.5 <= high
        });
        let share = covered.count() as f64 / f64::from(runs);
        assert!((0.93..=0.97).contains(&share), "{share}");
    }

    #[test]
    fn ratios_add_their_half_widths_by_squares() {
        let ratio = |log: f64, half: f64| (log.exp(), [(log - half).exp(), (log + half).exp()]);
        let found = UnpairedRatio::of_ratios(ratio(0.5, 0.03), ratio(0.2, 0.04));
        assert!((found.ratio.ln() - 0.3).abs() < 1e-12);
        assert!((found.ci95[0].ln() - 0.25).abs() < 1e-12);
        assert!((found.ci95[1].ln() - 0.35).abs() < 1e-12);
    }

    #[test]
    fn bad_input_is_an_error() {
        assert_eq!(unpaired_ratio(&[], &[1.0, 2.0]), Err(StatsError::Empty));
        let few = unpaired_ratio(&[1.0], &[1.0, 2.0]);
        assert_eq!(few, Err(StatsError::TooFewPairs { pairs: 1 }));
        let bad = unpaired_ratio(&[1.0, 2.0], &[1.0, 0.0]);
        assert!(matches!(bad, Err(StatsError::Value { index: 1, .. })));
        assert_eq!(unpaired_ratio(&[2.0; 3], &[1.0; 3]).unwrap().ci95, [2.0; 2]);
    }
}
