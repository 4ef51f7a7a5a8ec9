//! Numbers as users write them.

use std::ops::RangeInclusive;

/// Reads a whole number of a range. What is none is told the range.
pub fn whole(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let [least, most] = [range.start(), range.end()];
        number.ok_or_else(|| format!("give a whole number from {least} to {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_of_the_range_are_taken() {
        let whole = whole(1..=60);
        assert_eq!([whole("1"), whole("60")], [Ok(1), Ok(60)]);
        for text in ["0", "61", "-1", "1.5", "x", "", "99999999999"] {
            let told = whole(text).unwrap_err();
            assert_eq!(told, "give a whole number from 1 to 60");
        }
    }
}
