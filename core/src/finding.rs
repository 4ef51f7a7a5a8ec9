//! What on a path is not as it could be: rules over the settings of the devices that it passed.
//!
//! Each rule is a function in [`rules`], documented in `docs/findings.md` under its name. A rule
//! speaks only of what was seen: a device that the run's packets passed, a setting that the
//! kernel told.

mod rules;
#[cfg(test)]
mod tests;
mod way;

use std::fmt;

pub use self::way::{Way, ways};
use crate::report::{Report, Run};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Packets are lost, split or sent again because of it.
    Problem,
    /// It costs processor time or throughput.
    Cost,
    /// It leaves something unused.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Problem => "problem",
            Self::Cost => "cost",
            Self::Note => "note",
        })
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The rule's name, as in `docs/findings.md`.
    pub rule: &'static str,
    /// Where the device is: `node/n1`, `pod/lab/n1-a`.
    pub place: String,
    /// The device.
    pub device: String,
    /// What is so, and what follows from it.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// What the rules say of the paths of a report's `runs`, what matters most first. Nothing of
/// those in which no stage was seen.
#[must_use]
pub fn findings<'a>(report: &Report, runs: impl IntoIterator<Item = &'a Run>) -> Vec<Finding> {
    let mut found = Vec::new();
    for run in runs {
        let ways = ways(report, run);
        let mss = mss(report, run);
        found.extend(ways.iter().flat_map(|way| rules::of_side(way, mss)));
        found.extend(rules::of_both(&ways));
    }
    found.sort();
    // Runs and sides have devices in common.
    found.dedup();
    found
}

/// The largest segments that TCP made between the ends of a run, bytes of payload and options.
/// `None` where no TCP was seen there.
fn mss(report: &Report, run: &Run) -> Option<u32> {
    let same = |other: &&Run| other.path == run.path;
    let tcp = report
        .runs
        .iter()
        .filter(same)
        .filter_map(|other| other.tcp.as_ref());
    tcp.map(|tcp| tcp.mss_bytes).max()
}
