//! The few pieces that all parts of the page are made of.

/// Text of a report as it may stand in an element or in an attribute's double quotes.
pub(super) fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A table of markup. The names of the columns may carry a class before a bar: `num|mean`.
/// The class is that of all cells below as well: `num` stands right, `wide` is left out on
/// narrow screens, `bar` takes what width is left.
pub(super) struct Table {
    columns: Vec<(&'static str, String)>,
    body: String,
}

impl Table {
    pub(super) fn new(columns: &[&'static str]) -> Self {
        let columns = columns.iter().map(|column| match column.split_once('|') {
            Some((class, name)) => (class, text(name)),
            None => ("", text(column)),
        });
        Self {
            columns: columns.collect(),
            body: String::new(),
        }
    }

    /// Replaces the heading of the column with this class by markup.
    pub(super) fn heading(&mut self, class: &str, markup: String) {
        for column in self.columns.iter_mut().filter(|(name, _)| *name == class) {
            column.1.clone_from(&markup);
        }
    }

    /// Replaces the heading of a column by markup.
    pub(super) fn heading_at(&mut self, at: usize, markup: String) {
        if let Some(column) = self.columns.get_mut(at) {
            column.1 = markup;
        }
    }

    /// Adds a row of cells, which are markup; the first is the row's heading.
    pub(super) fn row(&mut self, cells: &[String]) {
        self.body += "<tr>";
        for (at, (cell, (class, _))) in cells.iter().zip(&self.columns).enumerate() {
            self.body += &if at == 0 {
                format!("<th scope=\"row\"{}>{cell}</th>", attribute(class))
            } else {
                format!("<td{}>{cell}</td>", attribute(class))
            };
        }
        self.body += "</tr>\n";
    }

    /// Adds a row that names those that follow.
    pub(super) fn group(&mut self, title: &str) {
        self.body += &format!(
            "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{}\">{title}</th></tr>\n",
            self.columns.len()
        );
    }

    pub(super) fn render(&self) -> String {
        let heading: String = self
            .columns
            .iter()
            .map(|(class, name)| format!("<th scope=\"col\"{}>{name}</th>", attribute(class)))
            .collect();
        format!(
            "<div class=\"scroll\"><table>\n<thead><tr>{heading}</tr></thead>\n<tbody>\n{}</tbody>\n\
             </table></div>\n",
            self.body
        )
    }
}

fn attribute(class: &str) -> String {
    if class.is_empty() {
        String::new()
    } else {
        format!(" class=\"{class}\"")
    }
}

/// What the colours of a picture mean: class of the swatch and its word.
pub(super) fn legend(entries: &[(&str, &str)]) -> String {
    let entries: String = entries
        .iter()
        .map(|(class, word)| format!("<span><i class=\"{class}\"></i>{}</span>", text(word)))
        .collect();
    format!("<p class=\"legend\">{entries}</p>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_carry_classes() {
        let mut table = Table::new(&["stage", "num|mean"]);
        table.row(&[text("a<b"), "1 ns".to_owned()]);
        let markup = table.render();
        assert!(markup.contains("<th scope=\"row\">a&lt;b</th><td class=\"num\">1 ns</td>"));
    }
}
