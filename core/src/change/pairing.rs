//! Which runs of two reports can be compared.

use crate::{
    endpoint::{Endpoint, Path},
    report::{Report, Run, TestType, TollMetric},
    toll,
};

/// For each run of the old report, in its order, its partner in the new one, or in words why it has
/// none.
pub(super) struct Pairing<'a> {
    pub(super) partners: Vec<Result<&'a Run, String>>,
}

impl<'a> Pairing<'a> {
    /// Runs of the same test between the same endpoints are partners, those with the same options
    /// before others, and the first with the first where there are several. Pods get other names: of those that are left, one path between pods is
    /// another's partner where no other path of either report could be.
    pub(super) fn new(old: &Report, new: &'a Report) -> Self {
        let mut free: Vec<&'a Run> = new.runs.iter().collect();
        let mut found: Vec<Option<&'a Run>> = vec![None; old.runs.len()];
        for options in [true, false] {
            for (old, found) in old.runs.iter().zip(&mut found) {
                let same = |run: &&Run| {
                    run.test == old.test
                        && run.path == old.path
                        && (!options || traffic(run) == traffic(old))
                };
                if found.is_none() {
                    let at = free.iter().position(same);
                    *found = at.map(|at| free.remove(at));
                }
            }
        }
        let left: Vec<&Run> = (old.runs.iter().zip(&found))
            .filter_map(|(run, found)| found.is_none().then_some(run))
            .collect();
        let mut ambiguous = vec![false; old.runs.len()];
        for ((run, found), ambiguous) in old.runs.iter().zip(&mut found).zip(&mut ambiguous) {
            if found.is_some() {
                continue;
            }
            let alike = |other: &&Run| other.test == run.test && renamed(&run.path, &other.path);
            let rivals = paths(left.iter().copied().filter(alike));
            let candidates = paths(free.iter().copied().filter(alike));
            *ambiguous = !candidates.is_empty() && rivals.len() + candidates.len() > 2;
            if rivals.len() == 1 && candidates.len() == 1 {
                let at = free.iter().position(alike);
                *found = at.map(|at| free.remove(at));
            }
        }
        let partners = (old.runs.iter().zip(found).zip(ambiguous))
            .map(|((old, new), ambiguous)| judged(old, new, ambiguous))
            .collect();
        Self { partners }
    }
}

fn judged<'a>(old: &Run, new: Option<&'a Run>, ambiguous: bool) -> Result<&'a Run, String> {
    let what = || format!("{}, {}", old.path.label(), old.test);
    if !old.valid {
        let why = old.invalid_reasons.join("; ");
        return Err(format!(
            "{}: invalid in the old report ({why}); measure that again",
            what()
        ));
    }
    let Some(new) = new else {
        let why = if ambiguous {
            "several paths of its kind, none between the same endpoints"
        } else {
            "not in the new report"
        };
        return Err(format!("{}: {why}", what()));
    };
    if traffic(old) != traffic(new) {
        return Err(format!(
            "{}: measured with other options in the new report",
            what()
        ));
    }
    if !new.valid {
        let why = new.invalid_reasons.join("; ");
        return Err(format!("{}: invalid in the new report ({why})", what()));
    }
    Ok(new)
}

/// Whether the paths are of one kind on one network, and their endpoints differ in pods' names alone.
fn renamed(one: &Path, other: &Path) -> bool {
    let pods = |one: &Endpoint, other: &Endpoint| {
        let pod = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Pod { .. });
        one == other || pod(one) && pod(other)
    };
    (one.kind, &one.network) == (other.kind, &other.network)
        && pods(&one.from, &other.from)
        && pods(&one.to, &other.to)
}

/// Each path once.
fn paths<'a>(runs: impl Iterator<Item = &'a Run>) -> Vec<&'a Path> {
    let mut paths: Vec<&Path> = Vec::new();
    for run in runs {
        if !paths.contains(&&run.path) {
            paths.push(&run.path);
        }
    }
    paths
}

/// What shapes a run's traffic; for how long and in how many rounds is nothing to compare.
fn traffic(run: &Run) -> ([u32; 5], Option<u32>, Option<u64>) {
    let options = &run.options;
    let datagrams = run.test == TestType::UdpStream;
    let sizes = [
        options.message_bytes,
        options.request_bytes,
        options.response_bytes,
        options.warmup_ms,
        if datagrams { options.datagram_bytes } else { 0 },
    ];
    let rate = options.rate_bits_per_second.filter(|_| datagrams);
    (sizes, options.mss_bytes, rate)
}

/// The state of the probe in which figures of all these runs are compared: without it, unless one of
/// them has no good rounds of that kind.
pub(super) fn state(runs: &[&Run], metric: TollMetric) -> bool {
    let without = |run: &&Run| !toll::figures(run, metric, false).is_empty();
    !runs.iter().all(without)
}
