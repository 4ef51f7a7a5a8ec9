//! The doctor's findings for a terminal: 80 columns, each finding with yes or no in front.

use std::fmt::Write;

use super::Report;

/// Columns of the table.
const WIDTH: usize = 80;
/// Columns of `yes`, `no` and the space around them.
const MARK: usize = 6;

/// How a finding is to be taken.
#[derive(Clone, Copy)]
enum Mark {
    Good,
    Optional,
    Bad,
    Note,
}

impl Mark {
    fn of(good: bool, required: bool) -> Self {
        match (good, required) {
            (true, _) => Self::Good,
            (false, false) => Self::Optional,
            (false, true) => Self::Bad,
        }
    }

    /// The word and its colour (ANSI: green, yellow, red).
    fn word(self) -> (&'static str, &'static str) {
        match self {
            Self::Good => ("yes", "32"),
            Self::Optional => ("no", "33"),
            Self::Bad => ("NO", "31"),
            Self::Note => ("-", "0"),
        }
    }
}

/// Writes the report as a table.
pub(super) fn table(report: &Report, colour: bool) -> String {
    let mut table = Table {
        text: String::new(),
        colour,
    };
    table.head(&format!(
        "nettoll-agent {} on Linux {}",
        report.agent_version, report.kernel
    ));

    table.head("Capabilities");
    for capability in &report.capabilities {
        let mark = Mark::of(capability.held, capability.required);
        let optional = if capability.required {
            ""
        } else {
            " (optional)"
        };
        table.row(
            mark,
            capability.name,
            18,
            &format!("{}{optional}", capability.purpose),
        );
    }

    table.head("Kernel settings");
    for setting in &report.settings {
        let mark = Mark::of(setting.good, setting.required);
        let text = format!("{}: {}", setting.value, setting.meaning);
        table.row(mark, setting.name, 21, &text);
    }

    let source = report.kernel_options_source.as_deref();
    table.head(&format!(
        "Kernel options ({})",
        source.unwrap_or("no configuration found")
    ));
    for option in &report.kernel_options {
        let mark = match option.value.as_str() {
            "unknown" => Mark::Note,
            value => Mark::of(value != "n", option.required),
        };
        let text = format!("{}: {}", option.value, option.purpose);
        table.row(mark, option.name, 28, &text);
    }

    table.head("Hooks");
    for hook in &report.hooks {
        let kind = hook.kind.as_str();
        let mut text = if hook.works {
            hook.purpose.to_owned()
        } else {
            hook.detail.clone()
        };
        if let Some(remedy) = hook.remedy {
            text = format!("{text}; {remedy}");
            if !hook.stages.is_empty() {
                text = format!("{text}; without it no {}", hook.stages.join(", "));
            }
        }
        let mark = Mark::of(hook.works, hook.required);
        table.row(mark, &format!("{kind} {}", hook.name), 32, &text);
    }

    table.head("Members of the kernel's structures");
    for place in &report.members {
        let mark = Mark::of(place.offset.is_some(), true);
        table.row(mark, &place.name(), 32, &place.detail);
    }

    if report.missing.is_empty() {
        let missing = report.hooks.iter().filter(|it| it.required && !it.works);
        let missing: Vec<_> = missing.map(|hook| hook.name).collect();
        table.head("Ready: the agent can run here with its probe.");
        if !missing.is_empty() {
            let text = format!("it does without {}", missing.join(", "));
            table.row(Mark::Bad, "", 0, &text);
        }
    } else {
        table.head("Not ready:");
        for missing in &report.missing {
            table.row(Mark::Bad, "", 0, missing);
        }
    }
    table.text
}

struct Table {
    text: String,
    colour: bool,
}

impl Table {
    fn head(&mut self, text: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        // Writing to a text cannot fail.
        let _ = if self.colour {
            writeln!(self.text, "{gap}\x1b[1m{text}\x1b[0m")
        } else {
            writeln!(self.text, "{gap}{text}")
        };
    }

    /// One finding; `text` begins in a column of its own and is wrapped there.
    fn row(&mut self, mark: Mark, name: &str, width: usize, text: &str) {
        let (word, colour) = mark.word();
        let word = format!("{word:<4}");
        let word = if self.colour {
            format!("\x1b[{colour}m{word}\x1b[0m")
        } else {
            word
        };
        let indent = MARK + width;
        let mut lines = wrap(text, WIDTH - indent).into_iter();
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(self.text, "  {word}{name:<width$}{first}");
        for line in lines {
            let _ = writeln!(self.text, "{:indent$}{line}", "");
        }
    }
}

/// Breaks a text between words; a word longer than a line has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Settings;

    #[test]
    fn lines_fit_and_colour_is_asked_for() {
        let report = Report::make(&Settings::default());
        let plain = table(&report, false);
        for line in plain.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(!plain.contains('\x1b'));
        assert!(table(&report, true).contains("\x1b[1mHooks"));
        for hook in &report.hooks {
            assert!(plain.contains(hook.name), "{}", hook.name);
        }
    }

    #[test]
    fn texts_are_broken_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensibilities", 7), ["incomprehensibilities"]);
        assert!(wrap("", 7).is_empty());
    }
}
