//! Profiles for `pprof`, Pyroscope and their like: gzip around the messages of pprof's
//! `profile.proto`, whose fields' numbers are used below.

use std::{collections::HashMap, io::Write as _};

use flate2::{Compression, write::GzEncoder};

use crate::protobuf::{bytes, message, uint};

/// A profile of stacks with two values each: samples, and the CPU time that they stand for.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Messages `Sample`, each behind its field.
    samples: Vec<u8>,
    /// Every text of the profile by its number; number 0 is the empty one.
    texts: HashMap<String, u64>,
    /// The texts in the order of their numbers, without the empty one.
    ordered: Vec<String>,
    /// The text of each function. A location is a function here, since there are no lines: both
    /// have the number of their place in this list, and begin with 1.
    functions: Vec<u64>,
    /// The function of a text.
    function_of: HashMap<u64, u64>,
}

impl Profile {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds samples of one stack, **innermost function first**. They stand for `cpu_ns` of a CPU's
    /// time. Labels are what users of the profile choose samples by.
    pub fn add<'a>(
        &mut self,
        frames: impl IntoIterator<Item = &'a str>,
        samples: u64,
        cpu_ns: u64,
        labels: &[(&str, &str)],
    ) {
        let locations: Vec<u64> = frames.into_iter().map(|name| self.function(name)).collect();
        let labels: Vec<[u64; 2]> = labels
            .iter()
            .map(|(key, value)| [self.text(key), self.text(value)])
            .collect();
        message(&mut self.samples, 2, |sample| {
            for location in locations {
                uint(sample, 1, location);
            }
            uint(sample, 2, samples);
            uint(sample, 2, cpu_ns);
            for [key, value] in labels {
                message(sample, 3, |label| {
                    uint(label, 1, key);
                    uint(label, 2, value);
                });
            }
        });
    }

    /// The profile as a file, or as the answer to a request. `period_ns` is the CPU time that one
    /// sample stands for.
    #[must_use]
    pub fn encode(mut self, period_ns: u64) -> Vec<u8> {
        let [samples, count] = [self.text("samples"), self.text("count")];
        let [cpu, nanoseconds] = [self.text("cpu"), self.text("nanoseconds")];
        let kernel = self.text("[kernel]");
        let value = |out: &mut Vec<u8>, field, kind, unit| {
            message(out, field, |value| {
                uint(value, 1, kind);
                uint(value, 2, unit);
            });
        };
        let mut out = Vec::new();
        value(&mut out, 1, samples, count);
        value(&mut out, 1, cpu, nanoseconds);
        out.append(&mut self.samples);
        message(&mut out, 3, |mapping| {
            uint(mapping, 1, 1);
            uint(mapping, 5, kernel);
            // It has names of functions: no tool need look for symbols.
            uint(mapping, 7, 1);
        });
        for id in 1..=self.functions.len() as u64 {
            message(&mut out, 4, |location| {
                uint(location, 1, id);
                uint(location, 2, 1);
                message(location, 4, |line| uint(line, 1, id));
            });
        }
        for (id, &name) in (1..).zip(&self.functions) {
            message(&mut out, 5, |function| {
                uint(function, 1, id);
                uint(function, 2, name);
                uint(function, 3, name);
            });
        }
        bytes(&mut out, 6, b"");
        for text in &self.ordered {
            bytes(&mut out, 6, text.as_bytes());
        }
        value(&mut out, 11, cpu, nanoseconds);
        uint(&mut out, 12, period_ns);
        uint(&mut out, 14, cpu);
        compressed(&out)
    }

    /// The number of a text.
    fn text(&mut self, text: &str) -> u64 {
        if text.is_empty() {
            return 0;
        }
        if let Some(&number) = self.texts.get(text) {
            return number;
        }
        self.ordered.push(text.to_owned());
        let number = self.ordered.len() as u64;
        self.texts.insert(text.to_owned(), number);
        number
    }

    /// The number of a function.
    fn function(&mut self, name: &str) -> u64 {
        let name = self.text(name);
        let functions = &mut self.functions;
        *self.function_of.entry(name).or_insert_with(|| {
            functions.push(name);
            functions.len() as u64
        })
    }
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail; were it to, nothing is better than half of it.
    let written = out.write_all(bytes).and_then(|()| out.finish());
    written.unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;
