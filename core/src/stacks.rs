//! The sampled stacks of a process's runs since it began, added up by path: what a profiler reads
//! that scrapes, as `GET /stacks` of agents and controllers.
//!
//! Counts only rise. Whoever scrapes profiles asks for what comes within some seconds, as of a Go
//! program's `/debug/pprof`: the totals are kept twice meanwhile, if anything comes. Threads have no names here: a node's processes are nobody's business who may read
//! its metrics.

mod query;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

pub use self::query::{Format, Query, QueryError};
use crate::{
    api::Stacks,
    component::{Component, USER_FRAME, component},
    endpoint::{Path, PathKind},
    pprof::Profile,
    report::TestType,
};

/// Most different stacks of all paths: about 4 MB. A vxlan stream of 15 s has 7,200 on two CPUs.
pub const MAX_STACKS: usize = 16_384;

/// What stands for the stacks beyond [`MAX_STACKS`].
pub const LEFT_OUT_FRAME: &str = "[left out]";

/// Whose stacks they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Of {
    /// The path's kind.
    pub path: PathKind,
    /// The pod network, where there is one and it is known.
    pub network: Option<String>,
    /// The traffic.
    pub test: TestType,
}

impl Of {
    /// Of a run's.
    #[must_use]
    pub fn run(path: &Path, test: TestType) -> Self {
        Self {
            path: path.kind,
            network: path.network.clone(),
            test,
        }
    }
}

/// All that was sampled, by path.
#[derive(Clone, Debug, Default)]
pub struct StackTotals {
    names: Names,
    paths: BTreeMap<Of, HashMap<Place, Sum>>,
    /// Different stacks of all paths.
    stacks: usize,
    /// CPU time of a sample in the last run that was added.
    period_ns: u64,
}

/// A stack of names, innermost last, and its class.
type Place = (Box<[u32]>, Component);

/// What was counted at one place.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    samples: u64,
    cpu_ns: u64,
}

impl StackTotals {
    /// Nothing was sampled yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what was sampled in a run. Without a rate, samples say nothing and are left.
    pub fn add(&mut self, of: Of, stacks: &Stacks) {
        let Some(period_ns) = 1_000_000_000_u64.checked_div(stacks.hz.into()) else {
            return;
        };
        self.period_ns = period_ns;
        let sums = self.paths.entry(of).or_default();
        let user = [USER_FRAME.to_owned()];
        for stack in &stacks.stacks {
            let frames = match stack.frames.as_slice() {
                [] => &user,
                frames => frames,
            };
            let component = component(stack);
            // Once it is full no name is taken up either.
            let known = self.names.known(frames).map(|numbers| (numbers, component));
            let place = match known {
                Some(place) if sums.contains_key(&place) => place,
                _ if self.stacks < MAX_STACKS => {
                    self.stacks += 1;
                    (self.names.numbers(frames), component)
                }
                // One place more for each path and component at most.
                _ => (self.names.numbers(&[LEFT_OUT_FRAME.to_owned()]), component),
            };
            let sum = sums.entry(place).or_default();
            sum.samples = sum.samples.saturating_add(stack.samples);
            let cpu_ns = stack.samples.saturating_mul(period_ns);
            sum.cpu_ns = sum.cpu_ns.saturating_add(cpu_ns);
        }
    }

    /// What a query asks for, as the body of an answer: of all that was added, or of what was
    /// added since `earlier`, which these totals were then.
    #[must_use]
    pub fn page(&self, query: &Query, earlier: Option<&Self>) -> Vec<u8> {
        match query.format {
            Format::Pprof => self.pprof(query, earlier),
            Format::Folded => self.folded(query, earlier).into_bytes(),
        }
    }

    /// Each sample has the labels `path`, `network`, `test` and `component`.
    fn pprof(&self, query: &Query, earlier: Option<&Self>) -> Vec<u8> {
        let mut profile = Profile::new();
        for (of, (numbers, component), sum) in self.chosen(query, earlier) {
            let frames = numbers.iter().rev().map(|&number| self.names.name(number));
            let mut labels = vec![
                ("path", of.path.as_str()),
                ("test", of.test.as_str()),
                ("component", component.as_str()),
            ];
            labels.extend(of.network.as_deref().map(|network| ("network", network)));
            profile.add(frames, sum.samples, sum.cpu_ns, &labels);
        }
        profile.encode(self.period_ns)
    }

    /// `path[ (network)] test;outermost;…;innermost SAMPLES`, sorted.
    fn folded(&self, query: &Query, earlier: Option<&Self>) -> String {
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for (of, (numbers, _), sum) in self.chosen(query, earlier) {
            let mut line = match &of.network {
                Some(network) => format!("{} ({network}) {}", of.path, of.test),
                None => format!("{} {}", of.path, of.test),
            };
            for &number in numbers {
                line.push(';');
                line.push_str(self.names.name(number));
            }
            let count = lines.entry(line).or_default();
            *count = count.saturating_add(sum.samples);
        }
        let lines = lines.iter();
        lines.map(|(line, sum)| format!("{line} {sum}\n")).collect()
    }

    fn chosen<'a>(
        &'a self,
        query: &'a Query,
        earlier: Option<&'a Self>,
    ) -> impl Iterator<Item = (&'a Of, &'a Place, Sum)> {
        let before = move |of, place| {
            let sum = earlier?.paths.get(of)?.get(place);
            sum.copied()
        };
        self.paths
            .iter()
            .filter(|(of, _)| query.chooses(of))
            .flat_map(|(of, sums)| sums.iter().map(move |(place, sum)| (of, place, sum)))
            .map(move |(of, place, sum)| {
                let before: Sum = before(of, place).unwrap_or_default();
                let new = Sum {
                    samples: sum.samples - before.samples,
                    cpu_ns: sum.cpu_ns - before.cpu_ns,
                };
                (of, place, new)
            })
            .filter(|(.., sum)| sum.samples > 0)
    }
}

/// The names of functions, each kept once.
#[derive(Clone, Debug, Default)]
struct Names {
    number_of: HashMap<String, u32>,
    ordered: Vec<String>,
}

impl Names {
    /// The numbers of frames all of which are known.
    fn known(&self, frames: &[String]) -> Option<Box<[u32]>> {
        let number = |frame| self.number_of.get(frame).copied();
        frames.iter().map(number).collect()
    }

    fn numbers(&mut self, frames: &[String]) -> Box<[u32]> {
        frames.iter().map(|frame| self.number(frame)).collect()
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.number_of.get(name) {
            return number;
        }
        let number = u32::try_from(self.ordered.len()).unwrap_or(u32::MAX);
        // What the folded format itself uses must not come from a name.
        let plain = name.replace(|c: char| c == ';' || c.is_control(), ":");
        self.ordered.push(plain);
        self.number_of.insert(name.to_owned(), number);
        number
    }

    fn name(&self, number: u32) -> &str {
        let name = self.ordered.get(number as usize);
        name.map_or("", String::as_str)
    }
}
