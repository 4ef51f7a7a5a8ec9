//! Figures for people: three significant digits and a unit that fits. Machine-readable files
//! hold base units and do not come here.

/// Three significant digits, `1,234` from a thousand on.
pub(crate) fn digits(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size == 0.0 || size >= 99.95 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ if size >= 0.09995 => 3,
        _ => 4,
    };
    if size >= 999.5 {
        grouped(value)
    } else {
        minus(format!("{value:.decimals$}"))
    }
}

/// A whole number in groups of three digits.
pub(crate) fn count(value: u64) -> String {
    grouped(value as f64)
}

fn grouped(value: f64) -> String {
    let plain = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 && text != "0" {
        format!("−{text}")
    } else {
        text
    }
}

/// A minus sign that is as wide as a plus sign, and none before a zero.
fn minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|byte| b"0.".contains(&byte)) => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// A time in ns, µs, ms or s. Less than a twentieth of a nanosecond is none: no clock tells it.
pub(crate) fn time(ns: f64) -> String {
    let ns = if ns.abs() < 0.05 { 0.0 } else { ns };
    scaled(ns, &[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")])
}

/// Bits per second.
pub(crate) fn bit_rate(bits_per_second: f64) -> String {
    scaled(
        bits_per_second,
        &[
            (1e9, "Gbit/s"),
            (1e6, "Mbit/s"),
            (1e3, "kbit/s"),
            (1.0, "bit/s"),
        ],
    )
}

/// The largest unit in which three digits begin with a one or more, else the last.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let fits = |(size, _): &&(f64, &str)| value.abs() >= size * 0.9995;
    let last = units.last().copied().unwrap_or((1.0, ""));
    let (size, unit) = units.iter().find(fits).copied().unwrap_or(last);
    format!("{} {unit}", digits(value / size))
}

/// A part of a whole.
pub(crate) fn share(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// A change, signed: one decimal below 100 %.
pub(crate) fn percent(value: f64) -> String {
    format!("{} %", signed(value))
}

/// A change without its sign, for a sentence that says its direction in words.
pub(crate) fn plain_percent(value: f64) -> String {
    percent(value.abs()).trim_start_matches('+').to_owned()
}

/// A change on an axis: whole where it can be.
pub(crate) fn percent_tick(value: f64) -> String {
    let text = signed(value);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// An interval of changes: `[+40.2, +44.0]`. Both ends are as fine as the coarser one.
pub(crate) fn percent_interval([low, high]: [f64; 2]) -> String {
    let fine = is_fine(low) && is_fine(high);
    format!("[{}, {}]", rounded(low, fine), rounded(high, fine))
}

/// A decimal says something about a value of one or two digits.
fn is_fine(value: f64) -> bool {
    value.abs() < 99.95
}

fn signed(value: f64) -> String {
    rounded(value, is_fine(value))
}

fn rounded(value: f64, fine: bool) -> String {
    let text = if fine {
        minus(format!("{value:.1}"))
    } else {
        grouped(value)
    };
    if value > 0.0 && text != "0.0" && text != "0" {
        format!("+{text}")
    } else {
        text
    }
}

/// The smallest bound of one decimal that holds both ends of an interval: never rounded down.
pub(crate) fn within([low, high]: [f64; 2]) -> String {
    let bound = low.abs().max(high.abs());
    // A bound that one decimal holds exactly must not grow by the noise of binary fractions.
    let up = |value: f64| (value - 1e-9).ceil();
    if bound < 99.95 {
        format!("±{:.1} %", up(bound * 10.0) / 10.0)
    } else {
        format!("±{} %", grouped(up(bound)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let seen: Vec<_> = [
            0.0, -1e-4, 7.25, 985.4, 999.6, 1_234.0, 75_040.0, 2.5e6, 3e9,
        ]
        .map(time)
        .into();
        assert_eq!(
            seen,
            [
                "0 ns", "0 ns", "7.25 ns", "985 ns", "1.00 µs", "1.23 µs", "75.0 µs", "2.50 ms",
                "3.00 s"
            ]
        );
    }

    #[test]
    fn rates_and_counts() {
        assert_eq!(bit_rate(8.41e9), "8.41 Gbit/s");
        assert_eq!(bit_rate(912e6), "912 Mbit/s");
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(digits(0.011_72), "0.0117");
        assert_eq!(digits(12_345.6), "12,346");
    }

    #[test]
    fn changes_carry_their_sign() {
        let seen: Vec<_> = [42.13, -3.21, 0.0, -0.01, 199.6, 1_203.0]
            .map(percent)
            .into();
        assert_eq!(
            seen,
            ["+42.1 %", "−3.2 %", "0.0 %", "0.0 %", "+200 %", "+1,203 %"]
        );
        assert_eq!(plain_percent(-71.3), "71.3 %");
        assert_eq!(
            [0.0, 50.0, -2.5].map(percent_tick),
            ["0 %", "+50 %", "−2.5 %"]
        );
        assert_eq!(percent_interval([-1.8, 1.24]), "[−1.8, +1.2]");
        assert_eq!(percent_interval([31.6, 1_050.2]), "[+32, +1,050]");
        assert_eq!(percent_interval([-0.3, 120.4]), "[0, +120]");
    }

    #[test]
    fn a_bound_is_never_rounded_down() {
        assert_eq!(within([-1.81, 1.2]), "±1.9 %");
        assert_eq!(within([-0.5, 0.5]), "±0.5 %");
        assert_eq!(within([-1.7, 397.6]), "±398 %");
    }
}
