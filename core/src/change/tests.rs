//! Reports whose true changes are known.

use super::*;
use crate::{
    endpoint::PathKind,
    report::{Context, SCHEMA},
    toll::{tests::run, tolls},
};

/// A report of a stream that takes `path` times as long as made up, beside its baseline.
fn report(path: f64, baseline: f64) -> Report {
    let states = [false, true];
    let of = |id, kind, scale| run(id, kind, TestType::TcpStream, 12, scale, &states);
    let runs = vec![
        of("p", PathKind::PodToPod, path),
        of("b", PathKind::HostToHost, baseline),
    ];
    let tolls = tolls(&runs[0], &runs[1]).tolls;
    Report {
        schema: SCHEMA.to_owned(),
        context: Context {
            nettoll_version: String::new(),
            started: String::new(),
            command: vec![],
            nodes: vec![],
        },
        runs,
        tolls,
    }
}

fn verdicts(old: &Report, new: &Report, figures: Figures, tolerance: f64) -> Vec<Verdict> {
    let found = changes(old, new, figures, tolerance);
    assert_eq!(found.missing, Vec::<String>::new());
    found.changes.iter().map(|change| change.verdict).collect()
}

#[test]
fn a_path_that_became_dearer_has_regressed_and_the_other_way_round() {
    let (old, new) = (report(2.0, 1.0), report(3.0, 1.0));
    let found = changes(&old, &new, Figures::Tolls, 0.05);
    let [throughput, cpu] = &found.changes[..] else {
        panic!("{found:?}");
    };
    assert_eq!(throughput.metric, TollMetric::Throughput);
    assert!(
        (throughput.ratio - 2.0 / 3.0).abs() < 0.01,
        "{throughput:?}"
    );
    assert!(
        (throughput.worse_percent - 33.3).abs() < 1.0,
        "{throughput:?}"
    );
    assert!((cpu.worse_percent - 50.0).abs() < 1.0, "{cpu:?}");
    assert_eq!(found.count(Verdict::Regressed), 2);
    assert_eq!(
        verdicts(&new, &old, Figures::Tolls, 0.05),
        [Verdict::Improved; 2]
    );
}

#[test]
fn a_slower_machine_is_in_both_and_leaves_the_tolls() {
    let (old, new) = (report(2.0, 1.0), report(4.0, 2.0));
    assert_eq!(
        verdicts(&old, &new, Figures::Tolls, 0.05),
        [Verdict::Same; 2]
    );
    // The paths' own figures, which differ much between the rounds of a run.
    assert_eq!(
        verdicts(&old, &new, Figures::Paths, 0.05),
        [Verdict::Regressed; 4]
    );
    assert_eq!(
        verdicts(&old, &old, Figures::Paths, 0.05),
        [Verdict::Unclear; 4]
    );
    assert_eq!(
        verdicts(&old, &old, Figures::Paths, 0.5),
        [Verdict::Same; 4]
    );
}

#[test]
fn pods_may_have_other_names_where_none_can_be_taken_for_another() {
    let old = report(2.0, 1.0);
    let mut new = old.clone();
    let renamed = "node/n9".parse().unwrap();
    new.runs[0].path.from = renamed;
    new.tolls
        .iter_mut()
        .for_each(|toll| toll.path = new.runs[0].path.clone());
    assert_eq!(verdicts(&old, &new, Figures::All, 0.5), [Verdict::Same; 6]);
    let mut another = new.runs[0].clone();
    another.path.from = "node/n8".parse().unwrap();
    new.runs.push(another);
    let found = changes(&old, &new, Figures::Paths, 0.5);
    assert_eq!(
        found.missing,
        ["pod-to-pod, tcp_stream: not in the new report"]
    );
}

#[test]
fn what_cannot_be_compared_is_named() {
    let old = report(2.0, 1.0);
    let told = |change: fn(&mut Report)| {
        let mut new = old.clone();
        change(&mut new);
        changes(&old, &new, Figures::All, 0.5).missing.join("\n")
    };
    assert_eq!(told(|_| ()), "");
    let missing = told(|new| new.tolls.clear());
    assert!(
        missing.contains("pod-to-pod against host-to-host, tcp_stream: no toll of throughput"),
        "{missing}"
    );
    let other = told(|new| new.runs[0].options.message_bytes = 1);
    assert!(other.contains("measured with other options"), "{other}");
    let invalid = told(|new| {
        new.runs[0].valid = false;
        new.runs[0].invalid_reasons = vec!["steal".to_owned()];
    });
    assert!(
        invalid.contains("invalid in the new report (steal)"),
        "{invalid}"
    );
    let few = told(|new| new.runs[0].rounds.truncate(1));
    assert!(few.contains("no throughput of both"), "{few}");
}
