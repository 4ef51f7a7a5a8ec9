//! How long the rest of a matrix takes.

/// What cells have taken so far, by their runs: those of one matrix are all equally long.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    runs: u32,
    seconds: f64,
}

impl Pace {
    /// A cell with so many runs took so long.
    pub fn add(&mut self, runs: u32, seconds: f64) {
        self.runs += runs;
        self.seconds += seconds;
    }

    /// How many seconds so many runs take, where one is expected to take `expected` as long as none
    /// has been seen.
    #[must_use]
    pub fn seconds(&self, runs: u32, expected: f64) -> f64 {
        let of_one = if self.runs == 0 {
            expected
        } else {
            self.seconds / f64::from(self.runs)
        };
        f64::from(runs) * of_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_what_was_seen() {
        let mut pace = Pace::default();
        assert_eq!(pace.seconds(3, 5.0), 15.0);
        pace.add(1, 8.0);
        pace.add(3, 16.0);
        assert_eq!(pace.seconds(3, 5.0), 18.0);
        assert_eq!(pace.seconds(0, 5.0), 0.0);
    }
}
