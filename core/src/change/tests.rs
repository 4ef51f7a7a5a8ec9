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
    let found = changes(&old, &new, Figures::Tolls, 5.0);
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
        verdicts(&new, &old, Figures::Tolls, 5.0),
        [Verdict::Improved; 2]
    );
}

#[test]
fn a_slower_machine_is_in_both_and_leaves_the_tolls() {
    let (old, new) = (report(2.0, 1.0), report(4.0, 2.0));
    assert_eq!(
        verdicts(&old, &new, Figures::Tolls, 5.0),
        [Verdict::Same; 2]
    );
    // The paths' own figures, which differ much between the rounds of a run.
    assert_eq!(
        verdicts(&old, &new, Figures::Paths, 5.0),
        [Verdict::Regressed; 4]
    );
    assert_eq!(
        verdicts(&old, &old, Figures::Paths, 5.0),
        [Verdict::Unclear; 4]
    );
    assert_eq!(
        verdicts(&old, &old, Figures::Paths, 50.0),
        [Verdict::Same; 4]
    );
}

/// Two pods with other names, for the path of the report's first run and its toll.
fn moved(report: &Report, from: &str) -> Report {
    let mut moved = report.clone();
    moved.runs[0].path.from = from.parse().unwrap();
    let path = moved.runs[0].path.clone();
    moved
        .tolls
        .iter_mut()
        .for_each(|toll| toll.path = path.clone());
    moved
}

#[test]
fn pods_may_have_other_names_where_none_can_be_taken_for_another() {
    let old = moved(&report(2.0, 1.0), "pod/a/one");
    let new = moved(&old, "pod/a/two");
    assert_eq!(verdicts(&old, &new, Figures::All, 50.0), [Verdict::Same; 6]);
    let found = changes(&old, &new, Figures::Paths, 50.0);
    assert_eq!(found.changes[0].new_path.as_ref(), Some(&new.runs[0].path));
    assert_eq!(found.changes[3].new_path, None);

    // Another pod in either report, and nobody knows which is which.
    let with_another = |report: &Report| {
        let mut more = report.clone();
        let mut another = report.runs[0].clone();
        another.path.from = "pod/a/another".parse().unwrap();
        another.id = "another".to_owned();
        more.runs.push(another);
        more
    };
    let told = |old: &Report, new: &Report| changes(old, new, Figures::Paths, 50.0).missing;
    let several =
        "pod-to-pod, tcp_stream: several paths of its kind, none between the same endpoints";
    assert_eq!(told(&old, &with_another(&new)), [several]);
    // One that vanished is not compared with the one that stayed.
    let vanished = "pod-to-pod, tcp_stream: not in the new report";
    assert_eq!(told(&with_another(&old), &old), [vanished]);
    // Only pods get other names by themselves.
    let node = moved(&report(2.0, 1.0), "node/n9");
    assert_eq!(told(&old, &node), [vanished]);
}

#[test]
fn streams_are_compared_by_the_size_of_their_segments() {
    let of_sizes = |sizes: [(u32, f64); 2]| {
        let mut both = report(2.0, 1.0);
        (both.runs, both.tolls) = (Vec::new(), Vec::new());
        for (mss, scale) in sizes {
            let mut run = report(scale, 1.0).runs.remove(0);
            (run.id, run.options.mss_bytes) = (mss.to_string(), Some(mss));
            both.runs.push(run);
        }
        both
    };
    let old = of_sizes([(96, 4.0), (1440, 2.0)]);
    let new = of_sizes([(1440, 2.0), (96, 4.0)]);
    assert_eq!(
        verdicts(&old, &new, Figures::Paths, 50.0),
        [Verdict::Same; 4]
    );
    let other = of_sizes([(1440, 2.0), (160, 4.0)]);
    let told = changes(&old, &other, Figures::Paths, 50.0).missing;
    assert_eq!(
        told,
        ["pod-to-pod, tcp_stream: measured with other options in the new report"]
    );
}

#[test]
fn what_cannot_be_compared_is_named() {
    let old = report(2.0, 1.0);
    let told = |figures, change: fn(&mut Report)| {
        let mut new = old.clone();
        change(&mut new);
        changes(&old, &new, figures, 50.0).missing.join("\n")
    };
    for figures in [Figures::All, Figures::Tolls, Figures::Paths] {
        assert_eq!(told(figures, |_| ()), "");
        let other = told(figures, |new| new.runs[0].options.message_bytes = 1);
        assert!(other.contains("measured with other options"), "{other}");
        let invalid = told(figures, |new| {
            new.runs[0].valid = false;
            new.runs[0].invalid_reasons = vec!["steal".to_owned()];
        });
        assert!(
            invalid.contains("invalid in the new report (steal)"),
            "{invalid}"
        );
        // All rounds were made with the probe: nothing of the other state to compare with.
        let probed = told(figures, |new| {
            new.runs
                .iter_mut()
                .for_each(|run| run.rounds.retain(|round| round.probe));
        });
        let expected = if figures == Figures::Paths {
            ""
        } else {
            "with the probe in one report"
        };
        assert!(probed.contains(expected), "{probed}");
    }
    let missing = told(Figures::Tolls, |new| new.tolls.clear());
    let no_toll = "pod-to-pod against host-to-host, tcp_stream: throughput has no toll";
    assert!(missing.contains(no_toll), "{missing}");
    let few = told(Figures::Paths, |new| new.runs[0].rounds.truncate(1));
    assert!(
        few.contains("throughput, without the probe: 1 good rounds"),
        "{few}"
    );
    let no_ratio = told(Figures::Tolls, |new| new.tolls[0].ratio = -1.0);
    assert!(no_ratio.contains("is no toll: value 0 is -1"), "{no_ratio}");
    // Rounds without the probe on the one side, with it on the other.
    let mut without = old.clone();
    without.runs[0].rounds.retain(|round| !round.probe);
    let mut with = old.clone();
    with.runs[0].rounds.retain(|round| round.probe);
    let other = changes(&without, &with, Figures::Paths, 50.0)
        .missing
        .join("\n");
    assert!(
        other.contains("throughput, with the probe: 0 good rounds"),
        "{other}"
    );
}

#[test]
fn an_invalid_run_of_the_old_report_is_named_though_it_has_no_toll() {
    let mut old = report(2.0, 1.0);
    old.runs[0].valid = false;
    old.tolls.clear();
    let found = changes(&old, &report(2.0, 1.0), Figures::Tolls, 50.0);
    assert_eq!(found.missing.len(), 1);
    assert!(found.missing[0].contains("measure that again"), "{found:?}");
}
