//! What a machine said on its second serial port: parts with a name, their lines and how each
//! ended, as `init.sh` writes them.

/// What our own lines begin with.
const MARK: &str = "@nettoll ";

/// A program that ran inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its name.
    pub(crate) name: String,
    /// What it printed.
    pub(crate) lines: Vec<String>,
    /// Its exit code; `None` where it did not end.
    pub(crate) code: Option<i32>,
}

impl Part {
    /// What it printed, as one text.
    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }
}

/// All parts, in the order in which they ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transcript {
    /// What ran.
    pub(crate) parts: Vec<Part>,
    /// The machine came to its end.
    done: bool,
}

impl Transcript {
    /// Takes a line in, without its end; true where it is a part's own.
    pub(crate) fn take(&mut self, line: &str) -> bool {
        let line = line.trim_end_matches('\r');
        let Some(words) = line.strip_prefix(MARK) else {
            return self.open(line);
        };
        match words.split(' ').collect::<Vec<_>>()[..] {
            ["begin", name] => self.parts.push(Part {
                name: name.to_owned(),
                ..Part::default()
            }),
            ["end", name, code] => {
                if let Some(part) = self.parts.last_mut().filter(|part| part.name == name) {
                    // Marks begin on a line of their own.
                    part.lines.pop_if(|line| line.is_empty());
                    part.code = code.parse().ok();
                }
            }
            ["done"] => self.done = true,
            _ => {}
        }
        false
    }

    /// A line of the part that runs.
    fn open(&mut self, line: &str) -> bool {
        match self.parts.last_mut() {
            Some(part) if part.code.is_none() => {
                part.lines.push(line.to_owned());
                true
            }
            _ => false,
        }
    }

    /// What the part printed, where it ended well.
    pub(crate) fn of(&self, name: &str) -> Option<&Part> {
        self.parts
            .iter()
            .find(|part| part.name == name && part.code == Some(0))
    }

    /// What kept the machine from a good end, in words; `None` for nothing.
    pub(crate) fn fault(&self) -> Option<String> {
        let bad = |part: &&Part| part.code != Some(0);
        let bad: Vec<_> = (self.parts.iter().filter(bad))
            .map(|part| match part.code {
                Some(code) => format!("{} ended with {code}", part.name),
                None => format!("{} did not end", part.name),
            })
            .collect();
        match (bad.is_empty(), self.done) {
            (false, _) => Some(bad.join(", ")),
            (true, true) => None,
            (true, false) if self.parts.is_empty() => Some("it did not boot".to_owned()),
            (true, false) => Some("it did not come to its end".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Transcript {
        let mut transcript = Transcript::default();
        for line in text.split('\n') {
            transcript.take(line);
        }
        transcript
    }

    #[test]
    fn parts_have_their_lines_and_codes() {
        let text = "SeaBIOS\r\n@nettoll begin release\r\n6.1\r\n\r\n@nettoll end release 0\r\n\
                    lost\n@nettoll begin doctor\nNot ready\n\n@nettoll end doctor 2\n";
        let broken = of(text);
        assert_eq!(broken.parts[0].lines, ["6.1"]);
        assert_eq!(broken.of("release").unwrap().text(), "6.1");
        assert!(broken.of("doctor").is_none());
        assert_eq!(broken.fault().unwrap(), "doctor ended with 2");
    }

    #[test]
    fn silence_and_a_hang_are_faults() {
        assert_eq!(of("").fault().unwrap(), "it did not boot");
        let hangs = of("@nettoll begin tests\nrunning 1 test");
        assert_eq!(hangs.fault().unwrap(), "tests did not end");
        let panics = of("@nettoll begin a\n@nettoll end a 0\n");
        assert_eq!(panics.fault().unwrap(), "it did not come to its end");
        let good = of("@nettoll begin a\n@nettoll end a 0\n@nettoll done");
        assert_eq!(good.fault(), None);
    }
}
