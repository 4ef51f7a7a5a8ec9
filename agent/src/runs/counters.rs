//! Counts of the probe's programs over the rounds of one run.

use std::collections::BTreeMap;

use nettoll_core::report::Program;

use crate::probe::Probe;

/// Counts of the probe's programs, by name, and of losses, by reason.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    pub(super) programs: Vec<Program>,
    pub(super) lost: BTreeMap<String, u64>,
}

impl Counters {
    pub(super) fn of(probe: &Probe) -> Self {
        Self {
            programs: probe.programs(),
            lost: probe.lost(),
        }
    }

    /// Takes the programs' run times, and nothing else.
    pub(super) fn learn_costs(&mut self, calibrated: &Self) {
        for sum in &mut self.programs {
            let now = calibrated.programs.iter().find(|now| now.name == sum.name);
            if let Some(now) = now {
                (sum.mean_ns, sum.empty_mean_ns) = (now.mean_ns, now.empty_mean_ns);
            }
        }
    }

    /// Adds what was counted from `before` to `after`.
    pub(super) fn add(&mut self, before: &Self, after: &Self) {
        for now in &after.programs {
            let was = before.programs.iter().find(|was| was.name == now.name);
            let (runs, matched) = was.map_or((0, 0), |was| (was.runs, was.matched));
            let (runs, matched) = (
                now.runs.saturating_sub(runs),
                now.matched.saturating_sub(matched),
            );
            match self.programs.iter_mut().find(|sum| sum.name == now.name) {
                Some(sum) => {
                    let (runs, matched) = (sum.runs + runs, sum.matched + matched);
                    *sum = Program {
                        runs,
                        matched,
                        ..now.clone()
                    };
                }
                None => self.programs.push(Program {
                    runs,
                    matched,
                    ..now.clone()
                }),
            }
        }
        for (reason, now) in &after.lost {
            let was = before.lost.get(reason).copied().unwrap_or(0);
            *self.lost.entry(reason.clone()).or_default() += now.saturating_sub(was);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(runs: u64, lost: u64) -> Counters {
        let program = Program {
            name: "p".to_owned(),
            node: String::new(),
            kind: None,
            runs,
            matched: runs / 2,
            mean_ns: None,
            empty_mean_ns: None,
        };
        Counters {
            programs: vec![program],
            lost: [("full".to_owned(), lost)].into(),
        }
    }

    #[test]
    fn only_what_was_counted_in_the_rounds_is_summed() {
        let mut sum = Counters::default();
        sum.add(&counters(100, 3), &counters(110, 3));
        sum.add(&counters(500, 4), &counters(502, 6));
        assert_eq!(sum.programs[0].runs, 12);
        assert_eq!(sum.programs[0].matched, 6);
        assert_eq!(
            sum.lost["full"], 2,
            "and a reason without losses is listed, too"
        );
    }
}
