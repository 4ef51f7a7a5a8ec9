//! Counting what `cargo test` says, and the table at the end.

use std::{fmt::Write as _, ops::AddAssign, time::Duration};

/// How many tests did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Ran and were content.
    pub(crate) passed: u64,
    /// Ran and were not.
    pub(crate) failed: u64,
    /// Did not run, for they are marked `#[ignore]`.
    pub(crate) ignored: u64,
}

/// Reads what `cargo test` prints.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reader {
    /// Of all test binaries so far.
    pub(crate) tally: Tally,
    /// Test binaries that have begun and not told their result. One inside another is one that a
    /// test ran, and whose output it shows.
    depth: u32,
}

impl Reader {
    /// Takes a line in: `running 3 tests`, and `test result: ok. 3 passed; 0 failed; 1 ignored;
    /// …`. Others say nothing.
    pub(crate) fn take(&mut self, line: &str) {
        let line = plain(line);
        let line = line.trim();
        if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.depth += 1;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            if self.depth <= 1 {
                self.tally.add(result);
            }
            self.depth = self.depth.saturating_sub(1);
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl Tally {
    fn add(&mut self, rest: &str) {
        let counts = rest.split_once(". ").map_or(rest, |(_, counts)| counts);
        for count in counts.split("; ") {
            let mut words = count.split(' ');
            let (Some(Ok(number)), Some(what)) =
                (words.next().map(str::parse::<u64>), words.next())
            else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// A line without the escape sequences of colours.
fn plain(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        text.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    text
}

/// What became of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All its tests passed.
    Passed(Tally),
    /// Not all did, or it could not run although it was to.
    Failed {
        /// What was counted.
        tally: Tally,
        /// Why it failed, where the counts do not tell.
        why: String,
    },
    /// It was not asked for and cannot run here.
    Skipped(String),
}

impl Outcome {
    /// By what was counted. `fault`: what was wrong beside failed tests.
    pub(crate) fn of(tally: Tally, fault: Option<String>) -> Self {
        let why = if tally.failed > 0 {
            format!("{} test(s)", tally.failed)
        } else if let Some(fault) = fault {
            fault
        } else if tally.passed == 0 {
            "no test ran".to_owned()
        } else if tally.ignored > 0 {
            format!(
                "{} test(s) did not run: a lane runs all it has",
                tally.ignored
            )
        } else {
            return Self::Passed(tally);
        };
        Self::Failed { tally, why }
    }
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The lane.
    pub(crate) lane: &'static str,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// How long it took, with what it built and brought up for itself.
    pub(crate) took: Duration,
}

/// The table, and the closing line over all lanes.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "\n{:<8} {:>6} {:>6} {:>7} {:>7}  {}\n",
        "lane", "passed", "failed", "skipped", "seconds", "outcome"
    );
    let mut all = Tally::default();
    for Row {
        lane,
        outcome,
        took,
    } in rows
    {
        let seconds = took.as_secs();
        let (tally, words) = match outcome {
            Outcome::Passed(tally) => (*tally, "passed".to_owned()),
            Outcome::Failed { tally, why } => (*tally, format!("FAILED: {why}")),
            Outcome::Skipped(why) => (Tally::default(), format!("skipped: {why}")),
        };
        let Tally {
            passed,
            failed,
            ignored,
        } = tally;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{lane:<8} {passed:>6} {failed:>6} {ignored:>7} {seconds:>7}  {words}"
        );
        all += tally;
    }
    let Tally {
        passed,
        failed,
        ignored,
    } = all;
    let _ = writeln!(
        text,
        "\n{passed} passed, {failed} failed, {ignored} skipped"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; \
                      finished in 0.01s";

    #[test]
    fn counts_results_and_nothing_else() {
        let mut reader = Reader::default();
        reader.take("running 13 tests");
        reader.take(OK);
        reader.take("running 5 tests");
        reader.take("running 1 test");
        reader.take("test result: ok. 1 passed; 0 failed; 0 ignored");
        reader.take("test result: \u{1b}[31mFAILED\u{1b}(B\u{1b}[m. 2 passed; 3 failed; 0 ignored");
        reader.take("test tally::counts ... ok");
        reader.take("7 passed; 7 failed");
        let expected = Tally {
            passed: 14,
            failed: 3,
            ignored: 1,
        };
        assert_eq!(reader.tally, expected);
    }

    #[test]
    fn closes_with_a_plain_line() {
        let mut reader = Reader::default();
        reader.take(OK);
        let row = |lane, outcome| Row {
            lane,
            outcome,
            took: Duration::from_millis(61_900),
        };
        let rows = [
            row("pure", Outcome::Passed(reader.tally)),
            row("vm", Outcome::Skipped("no tests".to_owned())),
        ];
        let text = table(&rows);
        assert!(
            text.ends_with("\n12 passed, 0 failed, 1 skipped\n"),
            "{text}"
        );
        assert!(text.contains("      61  skipped: no tests"), "{text}");
    }
}
