//! The ratio of two figures that were measured apart from each other.

use super::{CONFIDENCE, Moments, StatsError, student_t_quantile};

/// Fewer rounds on a side say nothing of how much rounds differ.
pub const MIN_ROUNDS: usize = 5;

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
/// With fewer than [`MIN_ROUNDS`] values on a side, or values that have no logarithm.
pub fn unpaired_ratio(new: &[f64], old: &[f64]) -> Result<UnpairedRatio, StatsError> {
    let rounds = new.len().min(old.len());
    if rounds < MIN_ROUNDS {
        return Err(StatsError::TooFewRounds { rounds });
    }
    let [new, old] = [logarithms(new)?, logarithms(old)?];
    let square = |moments: &Moments| moments.standard_error().unwrap_or_default().powi(2);
    let [of_new, of_old] = [square(&new), square(&old)];
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
    ///
    /// # Errors
    /// Where one is no ratio.
    pub fn of_ratios(
        (new, new_ci95): (f64, [f64; 2]),
        (old, old_ci95): (f64, [f64; 2]),
    ) -> Result<Self, StatsError> {
        let [new_low, new_high] = new_ci95;
        let [old_low, old_high] = old_ci95;
        let all = [new, new_low, new_high, old, old_low, old_high];
        positive(&all)?;
        let [new, new_low, new_high, old, old_low, old_high] = all.map(f64::ln);
        let half = ((new_high - new_low) / 2.0).hypot((old_high - old_low) / 2.0);
        Ok(Self::of(new - old, half))
    }

    fn of(log: f64, half: f64) -> Self {
        Self {
            ratio: log.exp(),
            ci95: [(log - half).exp(), (log + half).exp()],
        }
    }
}

fn positive(values: &[f64]) -> Result<(), StatsError> {
    let bad = |(_, value): &(usize, &f64)| !(value.is_finite() && **value > 0.0);
    match values.iter().enumerate().find(bad) {
        Some((index, &value)) => Err(StatsError::Value { index, value }),
        None => Ok(()),
    }
}

fn logarithms(values: &[f64]) -> Result<Moments, StatsError> {
    positive(values)?;
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    Moments::of(&logs).ok_or(StatsError::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn the_interval_is_welchs() {
        // Logarithms 1 ± 0.2 (n = 6, standard error 0.2 / √5) and ±0.1 and 0 (n = 5, 0.1 / √5): the
        // degrees of freedom are 7.25, and Student's t at 7 is 2.3646.
        let of = |logs: &[f64]| logs.iter().map(|log: &f64| log.exp()).collect::<Vec<_>>();
        let new = of(&[0.8, 1.2, 0.8, 1.2, 0.8, 1.2]);
        let found = unpaired_ratio(&new, &of(&[-0.1, 0.1, -0.1, 0.1, 0.0])).unwrap();
        assert!((found.ratio - 1.0_f64.exp()).abs() < 1e-12);
        let half = 2.364_624 * (0.04_f64 / 5.0 + 0.01 / 5.0).sqrt();
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
        let found = UnpairedRatio::of_ratios(ratio(0.5, 0.03), ratio(0.2, 0.04)).unwrap();
        assert!((found.ratio.ln() - 0.3).abs() < 1e-12);
        assert!((found.ci95[0].ln() - 0.25).abs() < 1e-12);
        assert!((found.ci95[1].ln() - 0.35).abs() < 1e-12);
    }

    #[test]
    fn bad_input_is_an_error() {
        let few = |rounds| Err(StatsError::TooFewRounds { rounds });
        assert_eq!(unpaired_ratio(&[], &[1.0; 9]), few(0));
        assert_eq!(unpaired_ratio(&[1.0; 4], &[1.0; 5]), few(4));
        let bad = unpaired_ratio(&[1.0; 5], &[1.0, 0.0, 1.0, 1.0, 1.0]);
        assert!(matches!(bad, Err(StatsError::Value { index: 1, .. })));
        assert_eq!(unpaired_ratio(&[2.0; 5], &[1.0; 5]).unwrap().ci95, [2.0; 2]);
        let bad = UnpairedRatio::of_ratios((1.0, [0.9, 1.1]), (-1.0, [0.9, 1.1]));
        assert!(matches!(bad, Err(StatsError::Value { index: 3, .. })));
    }
}
