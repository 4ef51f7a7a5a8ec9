//! Comparisons for people.

use super::comparison::{Comparison, Goal, Met};

/// Aligned columns, then the commands.
pub(super) fn render(comparisons: &[Comparison], commands: &[String]) -> String {
    let mut rows = vec![
        [
            "COMPARISON",
            "OURS",
            "THEIRS",
            "UNIT",
            "RATIO",
            "95 %",
            "GOAL",
            "MET",
            "PAIRS",
        ]
        .map(str::to_owned),
    ];
    rows.extend(comparisons.iter().map(row));
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; 9] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    if !commands.is_empty() {
        text += "\nCommands, each run in turn with its other side:\n";
    }
    for command in commands {
        text += &format!("  {command}\n");
    }
    text
}

fn row(comparison: &Comparison) -> [String; 9] {
    let dash = || "-".to_owned();
    let [low, high] = comparison.ci95;
    let interval = match comparison.ratio {
        Some(_) => format!("{low:.3} to {high:.3}"),
        None => format!("{} to {}", figure(low), figure(high)),
    };
    let goal = comparison.goal.map(|goal| match goal {
        Goal::AtLeast(bound) => format!("at least {bound}"),
        Goal::AtMost(bound) => format!("at most {bound}"),
    });
    let met = comparison.met().map(|met| match met {
        Met::Yes => "yes",
        Met::No => "no",
        Met::Inconclusive => "inconclusive",
    });
    [
        comparison.name.clone(),
        figure(comparison.ours),
        comparison.theirs.map_or_else(dash, figure),
        comparison.unit.to_owned(),
        comparison
            .ratio
            .map_or_else(dash, |ratio| format!("{ratio:.3}")),
        interval,
        goal.unwrap_or_else(dash),
        met.map_or_else(dash, str::to_owned),
        comparison.pairs.to_string(),
    ]
}

/// Three to five digits.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_comparison_and_the_commands() {
        let pairs = [[99.0, 100.0]; 10];
        let goal = Some(Goal::AtLeast(0.97));
        let comparisons = [
            Comparison::of_pairs("tcp_stream", "Gbit/s", &pairs, goal).unwrap(),
            Comparison::of_differences("a hop", "ns", &[1_200.0, 1_400.0], None).unwrap(),
        ];
        let text = render(&comparisons, &["nettoll test".to_owned()]);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("COMPARISON  OURS"), "{text}");
        let words: Vec<_> = lines[1].split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "tcp_stream 99.00 100.0 Gbit/s 0.990 0.990 to 0.990 at least 0.97 yes 10"
        );
        assert!(lines[2].contains("1300   -       ns      -"), "{text}");
        assert_eq!(lines.last(), Some(&"  nettoll test"));
    }
}
