//! What was put into the path on purpose, looked for in what the product says of it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use nettoll_core::report::Stage;

use crate::session::label;

/// How far a figure may be from what was logged.
const TOLERANCE: f64 = 0.05;

/// What the stages add to a round trip on average over several runs, in ns: a stage that few packets
/// pass, such as `socket_queue`, counts for few. Those of two devices of one name, such as a pod's
/// `eth0` and its node's, are added up: what one of them rises by, the sum does.
#[derive(Default)]
pub struct Means {
    sums: BTreeMap<String, f64>,
    runs: u32,
}

impl Means {
    /// Takes the stages of another run, of so many requests.
    pub fn add(&mut self, stages: &[Stage], requests: u64) {
        self.runs += 1;
        for stage in stages {
            let share = stage.packets.map_or(1.0, |it| it as f64 / requests as f64);
            *self.sums.entry(label(stage)).or_default() += stage.mean_ns * share;
        }
    }

    fn get(&self, name: &str) -> f64 {
        // A stage that no packet passed took no time.
        let sum = self.sums.get(name).copied().unwrap_or_default();
        sum / f64::from(self.runs)
    }
}

/// Checks that the stages in `truth` rose by what they should, ±5 %, and no other by more than
/// 5 % of the smallest.
///
/// # Errors
/// Which did not, or did.
pub fn check_rises(without: &Means, with: &Means, truth: &[(&str, f64)]) -> Result<()> {
    let rises = truth.iter().map(|(_, rise)| *rise);
    let smallest = rises.fold(f64::INFINITY, f64::min);
    let names = with.sums.keys().chain(without.sums.keys());
    for (name, _) in truth {
        ensure!(with.sums.contains_key(*name), "no stage '{name}'");
    }
    let mut wrong = Vec::new();
    for name in names.collect::<std::collections::BTreeSet<_>>() {
        let rise = with.get(name) - without.get(name);
        let known = truth.iter().find(|(known, _)| known == name);
        let (text, holds) = match known {
            Some((_, in_truth)) => (
                format!("{name}: rose by {rise:.0} ns, in truth by {in_truth:.0}"),
                (rise / in_truth - 1.0).abs() <= TOLERANCE,
            ),
            None => (
                format!("{name}: moved by {rise:.0} ns, in truth by none"),
                rise.abs() <= TOLERANCE * smallest,
            ),
        };
        println!("{text}");
        if !holds {
            wrong.push(text);
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
