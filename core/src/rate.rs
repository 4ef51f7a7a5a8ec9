//! Rates as users write them.

/// Reads a rate of payload in bits per second, as iperf3 and tc take it: `100mbit`, `100M`, `2.5g`,
/// `1000000`; steps are of 1000. `None` for 0, which is no limit.
///
/// # Errors
/// Says how to write one.
pub fn rate(text: &str) -> Result<Option<u64>, String> {
    let bad = || {
        format!(
            "'{text}' is no rate; write bits per second, as 100mbit, 100M or 2.5G; 0 for no limit"
        )
    };
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = lower.split_at(digits.unwrap_or(lower.len()));
    let unit = unit.strip_suffix("/s").unwrap_or(unit);
    let unit = unit.strip_suffix("bit").unwrap_or(unit);
    let scale = match unit.trim() {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "t" => 1e12,
        _ => return Err(bad()),
    };
    let number: f64 = number.parse().map_err(|_| bad())?;
    match number * scale {
        0.0 => Ok(None),
        rate if (LEAST..=MOST).contains(&rate) => Ok(Some(rate.round() as u64)),
        _ => Err(format!("'{text}' is not from 1kbit to 10tbit")),
    }
}

/// One datagram in ten seconds.
const LEAST: f64 = 1e3;
const MOST: f64 = 1e13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_others_write_them() {
        for (text, expected) in [
            ("100mbit", 100_000_000),
            ("100M", 100_000_000),
            ("100 Mbit/s", 100_000_000),
            ("2.5G", 2_500_000_000),
            ("1000000", 1_000_000),
            ("64kbit", 64_000),
        ] {
            assert_eq!(rate(text), Ok(Some(expected)), "{text}");
        }
        assert_eq!(rate("0"), Ok(None));
        for text in ["", "fast", "100mbps", "-1m", "1..2m", "10MB", "1", "99t"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
