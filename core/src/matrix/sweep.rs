//! Values of an option, one after the other.

use std::{ops::RangeInclusive, str::FromStr};

/// Most values of one sweep.
const MOST: usize = 512;

/// Numbers as users write them: `96`, `96,1460`, `96..1440:64`, and lists of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep(Vec<u32>);

impl Sweep {
    /// The values, in ascending order and each once, if all are in that range.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn within(self, range: &RangeInclusive<u32>) -> Result<Vec<u32>, String> {
        match self.0.iter().find(|value| !range.contains(value)) {
            None => Ok(self.0),
            Some(value) => {
                let [least, most] = [range.start(), range.end()];
                Err(format!("{value} is not from {least} to {most}"))
            }
        }
    }
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is no list of numbers; write 96,1460 or 96..1440:64");
        let mut values = Vec::new();
        for part in text.split(',') {
            let number = |text: &str| text.trim().parse::<u32>().map_err(|_| bad());
            match part.split_once("..") {
                None => values.push(number(part)?),
                Some((first, rest)) => {
                    let (last, step) = rest.split_once(':').ok_or_else(bad)?;
                    let (first, last, step) = (number(first)?, number(last)?, number(step)?);
                    if first > last {
                        return Err(format!("'{}' ends before it begins", part.trim()));
                    }
                    if step == 0 {
                        return Err(bad());
                    }
                    // One more than is allowed, to see that there are more.
                    values.extend((first..=last).step_by(step as usize).take(MOST + 1));
                }
            }
            if values.len() > MOST {
                return Err(format!("more than {MOST} values: choose a larger step"));
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(Self(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_steps_are_read() {
        for (text, expected) in [
            ("96", vec![96]),
            ("1460, 96,96", vec![96, 1460]),
            ("96..352:64,1460", vec![96, 160, 224, 288, 352, 1460]),
            ("96..100:64", vec![96]),
        ] {
            assert_eq!(text.parse(), Ok(Sweep(expected)), "{text}");
        }
        let all: Sweep = "96..1440:64".parse().unwrap();
        let all = all.within(&(88..=32_767)).unwrap();
        assert_eq!((all.len(), all[21]), (22, 1440));
    }

    #[test]
    fn what_is_none_is_told() {
        for text in ["", "x", "96..", "96..1440", "96..1440:0", "-1", "1,,2"] {
            let told = text.parse::<Sweep>().unwrap_err();
            assert!(told.contains("is no list of numbers"), "{text}: {told}");
        }
        assert_eq!(
            "96,9..1:1".parse::<Sweep>().unwrap_err(),
            "'9..1:1' ends before it begins"
        );
        let told = "0..4294967295:1".parse::<Sweep>().unwrap_err();
        assert!(told.contains("more than 512"), "{told}");
        let few: Sweep = "87,88".parse().unwrap();
        let told = few.within(&(88..=32_767)).unwrap_err();
        assert_eq!(told, "87 is not from 88 to 32767");
    }
}
