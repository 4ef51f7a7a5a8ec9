//! Two figures, their ratio, and whether it reaches a goal.

use nettoll_core::stats::{self, StatsError};
use serde_json::{Value, json};

/// The half-width of an interval, as a part of the goal, above which nothing is concluded.
const MAX_HALF_WIDTH: f64 = 0.02;

/// What a comparison shall reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// The figure is this or more.
    AtLeast(f64),
    /// The figure is this or less.
    AtMost(f64),
}

/// Whether a goal is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    Yes,
    No,
    /// The interval is too wide to say.
    Inconclusive,
}

impl Goal {
    fn bound(self) -> f64 {
        match self {
            Self::AtLeast(bound) | Self::AtMost(bound) => bound,
        }
    }

    fn reached(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }

    /// Judges a figure with its interval. A wide interval that lies beyond the goal as a whole
    /// is a miss all the same.
    fn judge(self, figure: f64, [low, high]: [f64; 2]) -> Met {
        let narrow = (high - low) / 2.0 <= MAX_HALF_WIDTH * self.bound();
        let any = self.reached(low) || self.reached(high);
        match (narrow, self.reached(figure)) {
            (true, true) => Met::Yes,
            (true, false) => Met::No,
            (false, _) if !any => Met::No,
            (false, _) => Met::Inconclusive,
        }
    }
}

/// One line of a bench.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison {
    pub(super) name: String,
    /// Median over the pairs; of a difference, its mean.
    pub(super) ours: f64,
    /// Median over the pairs; `None` where `ours` is a difference.
    pub(super) theirs: Option<f64>,
    pub(super) unit: &'static str,
    /// Ours over theirs by pairs; `None` where `ours` is a difference, and `ci95` is its own.
    pub(super) ratio: Option<f64>,
    pub(super) ci95: [f64; 2],
    /// Of `ratio`, else of `ours`.
    pub(super) goal: Option<Goal>,
    pub(super) pairs: usize,
}

impl Comparison {
    /// Of figures measured in pairs.
    ///
    /// # Errors
    /// Where there are too few pairs, or one is not above zero.
    pub(super) fn of_pairs(
        name: impl Into<String>,
        unit: &'static str,
        pairs: &[[f64; 2]],
        goal: Option<Goal>,
    ) -> Result<Self, StatsError> {
        let [ours, theirs] =
            [0, 1].map(|side| -> Vec<f64> { pairs.iter().map(|pair| pair[side]).collect() });
        let found = stats::paired_ratio(&ours, &theirs)?;
        Ok(Self {
            name: name.into(),
            ours: median(ours),
            theirs: Some(median(theirs)),
            unit,
            ratio: Some(found.ratio),
            ci95: found.ci95,
            goal,
            pairs: found.pairs,
        })
    }

    /// Of a figure that is a difference already.
    ///
    /// # Errors
    /// Where there are fewer than two values.
    pub(super) fn of_differences(
        name: impl Into<String>,
        unit: &'static str,
        values: &[f64],
        goal: Option<Goal>,
    ) -> Result<Self, StatsError> {
        let found = stats::estimate(values)?;
        let pairs = values.len();
        Ok(Self {
            name: name.into(),
            ours: found.mean,
            theirs: None,
            unit,
            ratio: None,
            ci95: found.ci95.ok_or(StatsError::TooFewPairs { pairs })?,
            goal,
            pairs,
        })
    }

    /// What the goal is of.
    fn figure(&self) -> f64 {
        self.ratio.unwrap_or(self.ours)
    }

    /// `None` without a goal.
    pub(super) fn met(&self) -> Option<Met> {
        let goal = self.goal?;
        Some(goal.judge(self.figure(), self.ci95))
    }

    /// Nothing is gained by measuring on.
    pub(super) fn concluded(&self) -> bool {
        self.met() != Some(Met::Inconclusive)
    }

    /// As the design promises it.
    pub(super) fn to_json(&self) -> Value {
        let goal = self.goal.map(|goal| match goal {
            Goal::AtLeast(bound) => json!({ "at_least": bound }),
            Goal::AtMost(bound) => json!({ "at_most": bound }),
        });
        let met = self.met().map(|met| match met {
            Met::Yes => json!(true),
            Met::No => json!(false),
            Met::Inconclusive => json!("inconclusive"),
        });
        json!({
            "name": self.name,
            "ours": self.ours,
            "theirs": self.theirs,
            "unit": self.unit,
            "ratio": self.ratio,
            "ci95": self.ci95,
            "goal": goal,
            "met": met,
            "pairs": self.pairs,
        })
    }
}

/// Of a list that is not empty.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 {
        values[half]
    } else {
        f64::midpoint(values[half - 1], values[half])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_by_a_narrow_interval_only() {
        let goal = Goal::AtLeast(0.97);
        assert_eq!(goal.judge(0.98, [0.97, 0.99]), Met::Yes);
        assert_eq!(goal.judge(0.975, [0.96, 0.99]), Met::Yes);
        assert_eq!(goal.judge(0.98, [0.95, 1.01]), Met::Inconclusive);
        assert_eq!(goal.judge(0.96, [0.95, 0.97]), Met::No);
        assert_eq!(goal.judge(0.96, [0.92, 1.00]), Met::Inconclusive);
        assert_eq!(goal.judge(0.80, [0.70, 0.90]), Met::No);
        let goal = Goal::AtMost(50.0);
        assert_eq!(goal.judge(40.0, [39.1, 40.9]), Met::Yes);
        assert_eq!(goal.judge(40.0, [30.0, 50.0]), Met::Inconclusive);
        assert_eq!(goal.judge(90.0, [70.0, 110.0]), Met::No);
    }

    #[test]
    fn pairs_give_medians_and_their_ratio() {
        let pairs: Vec<[f64; 2]> = (1..=11).map(|i| [f64::from(2 * i), f64::from(i)]).collect();
        let found = Comparison::of_pairs("x", "ns", &pairs, Some(Goal::AtMost(2.1))).unwrap();
        assert_eq!((found.ours, found.theirs), (12.0, Some(6.0)));
        assert!((found.ratio.unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(found.met(), Some(Met::Yes));
        let json = found.to_json();
        assert_eq!(json["goal"]["at_most"], 2.1);
        assert_eq!(json["met"], true);
        assert_eq!(json["pairs"], 11);
    }

    #[test]
    fn a_difference_has_no_ratio() {
        let found = Comparison::of_differences("x", "ns", &[1.0, 2.0, 3.0], None).unwrap();
        assert_eq!((found.ours, found.theirs, found.ratio), (2.0, None, None));
        assert!(found.concluded());
        let json = found.to_json();
        assert!(json["ratio"].is_null() && json["goal"].is_null() && json["met"].is_null());
    }

    #[test]
    fn an_even_number_has_its_median_between_two() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
    }
}
