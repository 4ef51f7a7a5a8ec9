//! The last runs, for those who ask later: `GET /api/v1/runs` and `stacks`.
//!
//! They are kept as the bytes that are answered, so that what they take is known exactly.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use nettoll_core::{
    api::{JobResult, RunSummary},
    component::folded,
    report::{Report, Run, Toll},
};

/// Most runs that are kept.
const MAX_RUNS: usize = 200;
/// Most bytes of all of them.
const MAX_BYTES: usize = 32 << 20;

/// The last runs.
#[derive(Default)]
pub(crate) struct Archive(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    /// Oldest first.
    runs: VecDeque<Kept>,
    bytes: usize,
}

/// A run.
struct Kept {
    summary: RunSummary,
    /// A report of it alone, with its baselines.
    report: Bytes,
    /// Folded, where it was sampled.
    stacks: Option<Bytes>,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.report.len() + self.stacks.as_ref().map_or(0, Bytes::len)
    }
}

impl Archive {
    /// Keeps what a job gave; older runs go where there is no room for all.
    pub(super) fn add(&self, result: &JobResult) {
        for run in &result.report.runs {
            let stacks = result.stacks.get(&run.id);
            let report = match serde_json::to_vec(&alone(run, &result.report)) {
                Ok(report) => report.into(),
                Err(error) => {
                    tracing::error!("run {} is not kept: {error}", run.id);
                    continue;
                }
            };
            self.shelf().add(Kept {
                summary: RunSummary::of(run, &result.report, stacks.is_some()),
                report,
                stacks: stacks.map(|stacks| folded(stacks).into()),
            });
        }
    }

    /// All that are kept, the newest first.
    pub(crate) fn summaries(&self) -> Vec<RunSummary> {
        let shelf = self.shelf();
        shelf
            .runs
            .iter()
            .rev()
            .map(|kept| kept.summary.clone())
            .collect()
    }

    /// The report of a run, as JSON.
    pub(crate) fn report(&self, id: &str) -> Option<Bytes> {
        self.shelf().find(id).map(|kept| kept.report.clone())
    }

    /// The folded stacks of a run that was sampled.
    pub(crate) fn stacks(&self, id: &str) -> Option<Bytes> {
        self.shelf().find(id).and_then(|kept| kept.stacks.clone())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn add(&mut self, kept: Kept) {
        self.bytes += kept.bytes();
        self.runs.push_back(kept);
        while self.runs.len() > MAX_RUNS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.runs.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes();
        }
    }

    fn find(&self, id: &str) -> Option<&Kept> {
        self.runs.iter().find(|kept| kept.summary.id == id)
    }
}

/// The part of a report that is about one run: it, what it is compared with, and its tolls.
fn alone(run: &Run, report: &Report) -> Report {
    let tolls = report.tolls.iter().filter(|toll| toll.run_id == run.id);
    let tolls: Vec<Toll> = tolls.cloned().collect();
    let wanted = |other: &&Run| {
        other.id == run.id || tolls.iter().any(|toll| toll.baseline_run_id == other.id)
    };
    Report {
        schema: report.schema.clone(),
        context: report.context.clone(),
        runs: report.runs.iter().filter(wanted).cloned().collect(),
        tolls,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nettoll_core::api::{Stack, Stacks};

    use super::*;

    const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/tests/data/report.json");

    fn result() -> JobResult {
        let report: Report =
            serde_json::from_str(&std::fs::read_to_string(REPORT).unwrap()).unwrap();
        let stack = Stack {
            thread: "swapper".to_owned(),
            frames: vec!["do_idle".to_owned()],
            samples: 3,
        };
        let stacks = Stacks {
            stacks: vec![stack],
            ..Stacks::default()
        };
        let first = report.runs[0].id.clone();
        JobResult {
            report,
            stacks: BTreeMap::from([(first, stacks)]),
        }
    }

    #[test]
    fn a_run_is_kept_with_what_it_is_compared_with() {
        let (archive, result) = (Archive::default(), result());
        archive.add(&result);
        let summaries = archive.summaries();
        assert_eq!(summaries.len(), result.report.runs.len());
        let toll = &result.report.tolls[0];
        let kept: Report = serde_json::from_slice(&archive.report(&toll.run_id).unwrap()).unwrap();
        let ids: Vec<_> = kept.runs.iter().map(|run| run.id.as_str()).collect();
        assert!(ids.contains(&&*toll.run_id) && ids.contains(&&*toll.baseline_run_id));
        assert!(kept.runs.len() < result.report.runs.len());
        assert!(kept.tolls.iter().all(|kept| kept.run_id == toll.run_id));
        let summary = summaries.iter().find(|one| one.id == toll.run_id).unwrap();
        assert!(summary.toll.is_some() && summary.ci95.is_some());

        let first = &result.report.runs[0].id;
        assert_eq!(archive.stacks(first).unwrap(), "swapper;do_idle 3\n");
        assert_eq!(summaries.iter().filter(|one| one.sampled).count(), 1);
        assert_eq!(archive.stacks(&result.report.runs[1].id), None);
        assert_eq!(archive.report("absent"), None);
    }

    #[test]
    fn the_oldest_make_room() {
        let mut shelf = Shelf::default();
        let result = result();
        let add = |shelf: &mut Shelf, number: usize, bytes: usize| {
            let run = &result.report.runs[0];
            let mut summary = RunSummary::of(run, &result.report, false);
            summary.id = number.to_string();
            shelf.add(Kept {
                summary,
                report: vec![0; bytes].into(),
                stacks: None,
            });
        };
        for number in 0..=MAX_RUNS {
            add(&mut shelf, number, 1);
        }
        assert_eq!((shelf.runs.len(), shelf.bytes), (MAX_RUNS, MAX_RUNS));
        assert!(shelf.find("0").is_none() && shelf.find("1").is_some());
        add(&mut shelf, 1_000, MAX_BYTES);
        assert_eq!(shelf.runs.len(), 1);
        // One that is too large leaves nothing, and is not kept itself.
        add(&mut shelf, 1_001, MAX_BYTES + 1);
        assert_eq!((shelf.runs.len(), shelf.bytes), (0, 0));
    }
}
