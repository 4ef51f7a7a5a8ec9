//! Bootstrap-t: how far means of resamples are from the mean, in their own standard errors.

use super::Moments;
use crate::random::SplitMix64;

/// Resamples; the quantiles sought are then whole ranks.
const RESAMPLES: usize = 999;

/// The quantile of |t*| at `confidence`, to be used in the place of Student's: Hall, "On symmetric
/// bootstrap confidence intervals", J. R. Statist. Soc. B 50 (1988).
///
/// `None` where resamples have no spread of their own often enough to reach the quantile.
pub(super) fn symmetric_t_quantile(values: &[f64], confidence: f64) -> Option<f64> {
    let mean = Moments::of(values)?.mean;
    let mut random = SplitMix64::seeded_by(values);
    let mut resample = vec![0.0; values.len()];
    let mut distances: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            resample.fill_with(|| values[random.below(values.len())]);
            let moments = Moments::of(&resample);
            let error = moments.as_ref().and_then(Moments::standard_error);
            match (moments, error) {
                (Some(moments), Some(error)) if error > 0.0 => (moments.mean - mean).abs() / error,
                _ => f64::INFINITY,
            }
        })
        .collect();
    distances.sort_unstable_by(f64::total_cmp);
    let rank = ((RESAMPLES + 1) as f64 * confidence).round() as usize;
    distances
        .get(rank.checked_sub(1)?)
        .copied()
        .filter(|quantile| quantile.is_finite())
}
