//! Student's t distribution.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// The probability that |T| ≤ `t` with `degrees` degrees of freedom.
///
/// Exact finite series for whole degrees: Abramowitz and Stegun, "Handbook of Mathematical
/// Functions", 26.7.3 (odd) and 26.7.4 (even). Infinitely many degrees would be the normal
/// distribution; no degree at all has no spread to judge by, and the probability is 0.
#[must_use]
pub fn student_t(t: f64, degrees: usize) -> f64 {
    if degrees == 0 || t <= 0.0 {
        return 0.0;
    }
    let n = degrees as f64;
    // θ = atan(t / √n); sine and cosine from the triangle, so that they keep their digits.
    let hypotenuse = (n + t * t).sqrt();
    let (sine, cosine) = (t / hypotenuse, n.sqrt() / hypotenuse);
    let odd = degrees % 2 == 1;
    // Odd: cos θ + 2/3 cos³ θ + 2·4/(3·5) cos⁵ θ + …; even: 1 + 1/2 cos² θ + 1·3/(2·4) cos⁴ θ + …
    let (mut term, first) = if odd { (cosine, 1) } else { (1.0, 0) };
    let mut sum = 0.0;
    let mut power = first;
    while power + 2 <= degrees && term > f64::EPSILON * sum {
        sum += term;
        term *= cosine * cosine * (power + 1) as f64 / (power + 2) as f64;
        power += 2;
    }
    if odd {
        FRAC_2_PI * (FRAC_PI_2 - (cosine / sine).atan() + sine * sum)
    } else {
        sine * sum
    }
}

/// The `t` with a probability of `confidence` that |T| ≤ `t`: the two-sided quantile.
/// Infinite without degrees of freedom.
#[must_use]
pub fn student_t_quantile(confidence: f64, degrees: usize) -> f64 {
    if degrees == 0 {
        return f64::INFINITY;
    }
    let mut high = 1.0;
    while student_t(high, degrees) < confidence && high < 1e9 {
        high *= 2.0;
    }
    let mut low = 0.0;
    // Halving an interval below 2³⁰ sixty times leaves less than 2⁻³⁰.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if student_t(middle, degrees) < confidence {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Two-sided; NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
        for (confidence, degrees, expected) in [
            (0.95, 1, 12.706),
            (0.95, 2, 4.303),
            (0.95, 3, 3.182),
            (0.95, 4, 2.776),
            (0.95, 9, 2.262),
            (0.95, 10, 2.228),
            (0.95, 19, 2.093),
            (0.95, 30, 2.042),
            (0.95, 100, 1.984),
            (0.95, 1_000_000, 1.960),
            (0.90, 7, 1.895),
            (0.99, 5, 4.032),
            (0.99, 24, 2.797),
            (0.998, 9, 4.297),
        ] {
            let found = student_t_quantile(confidence, degrees);
            assert!(
                (found - expected).abs() <= 6e-4,
                "{confidence} {degrees}: {found}"
            );
        }
        assert_eq!(student_t_quantile(0.95, 0), f64::INFINITY);
    }

    #[test]
    fn closed_forms_agree() {
        for t in [0.01, 0.5, 1.0, 3.0, 50.0, 1e6] {
            let cauchy = FRAC_2_PI * f64::atan(t);
            assert!((student_t(t, 1) - cauchy).abs() < 1e-14, "{t}");
            let two = t / f64::sqrt(2.0 + t * t);
            assert!((student_t(t, 2) - two).abs() < 1e-14, "{t}");
        }
    }
}
