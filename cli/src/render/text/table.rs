//! Columns of text. Widths are counted in characters: all that is written here is one column
//! wide each.

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows of text in columns.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Align>,
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Row {
    Cells(Vec<String>),
    /// Over all columns.
    Line(String),
}

/// Columns before the first.
const INDENT: usize = 2;

impl Table {
    pub(super) fn new(columns: Vec<Align>) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// A table whose first row are the columns' names.
    pub(super) fn with_heading(columns: &[(&str, Align)]) -> Self {
        let mut table = Self::new(columns.iter().map(|(_, align)| *align).collect());
        table.row(columns.iter().map(|(name, _)| (*name).to_owned()).collect());
        table
    }

    /// Adds a row; a missing cell is empty, one without a column is left out.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(Row::Cells(cells));
    }

    /// Adds a line that no column's width follows.
    pub(super) fn line(&mut self, text: String) {
        self.rows.push(Row::Line(text));
    }

    /// The table, with as many spaces between columns (two, else one) as the width allows.
    pub(super) fn render(&self, width: usize) -> String {
        let widths: Vec<usize> = (0..self.columns.len()).map(|at| self.width(at)).collect();
        let cells: usize = widths.iter().sum();
        let gaps = widths.len().saturating_sub(1);
        let gap = if INDENT + cells + 2 * gaps <= width {
            "  "
        } else {
            " "
        };
        let mut text = String::new();
        for row in &self.rows {
            let line = match row {
                Row::Cells(cells) => self.cells(cells, &widths, gap),
                Row::Line(line) => line.clone(),
            };
            text += format!("{}{line}", " ".repeat(INDENT)).trim_end();
            text.push('\n');
        }
        text
    }

    fn cells(&self, cells: &[String], widths: &[usize], gap: &str) -> String {
        let columns = self.columns.iter().zip(widths).enumerate();
        let padded = columns.map(|(at, (align, width))| {
            let cell = cells.get(at).map_or("", String::as_str);
            match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            }
        });
        padded.collect::<Vec<_>>().join(gap)
    }

    fn width(&self, at: usize) -> usize {
        let cell = |row: &Row| match row {
            Row::Cells(cells) => cells.get(at).map_or(0, |cell| cell.chars().count()),
            Row::Line(_) => 0,
        };
        self.rows.iter().map(cell).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::with_heading(&[("stage", Align::Left), ("mean", Align::Right)]);
        table.row(vec!["encap".to_owned(), "1.23 µs".to_owned()]);
        table.line("a line that is longer than the columns".to_owned());
        table.row(vec!["qdisc".to_owned(), "45.0 ns".to_owned()]);
        table.row(vec!["none".to_owned()]);
        assert_eq!(
            table.render(80),
            "  stage     mean\n  encap  1.23 µs\n  a line that is longer than the columns\n  \
             qdisc  45.0 ns\n  none\n"
        );
        assert!(table.render(10).contains("  encap 1.23 µs"));
    }
}
