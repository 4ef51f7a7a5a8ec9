//! A figure and its bound, where there is nothing to compare with.

use serde_json::{Value, json};

/// A figure and what it shall be at most.
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) most: Option<f64>,
}

impl Figure {
    pub(super) fn met(&self) -> bool {
        self.most.is_none_or(|most| self.value <= most)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({ "name": self.name, "value": self.value, "at_most": self.most, "met": self.met() })
    }
}

/// A line each.
pub(super) fn render(figures: &[Figure]) -> String {
    let width = figures
        .iter()
        .map(|figure| figure.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = format!(
        "{:width$}  {:>12}  {:>10}  MET\n",
        "FIGURE", "VALUE", "AT MOST"
    );
    for figure in figures {
        let value = if figure.value.fract() == 0.0 {
            format!("{:.0}", figure.value)
        } else {
            format!("{:.2}", figure.value)
        };
        let (most, met) = match figure.most {
            Some(most) => (most.to_string(), if figure.met() { "yes" } else { "no" }),
            None => ("-".to_owned(), "-"),
        };
        text += &format!("{:width$}  {value:>12}  {most:>10}  {met}\n", figure.name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_without_a_bound_is_met() {
        let figure = |value, most| Figure {
            name: "x".to_owned(),
            value,
            most,
        };
        assert!(figure(5.0, None).met() && figure(5.0, Some(5.0)).met());
        assert!(!figure(5.1, Some(5.0)).met());
        let text = render(&[figure(5.25, Some(0.5)), figure(3.0, None)]);
        assert!(text.contains("5.25         0.5  no\n"), "{text}");
    }
}
