use super::{super::tests::round, *};
use crate::{
    hop::{Direction, Side},
    mesh::tests::stage,
};

const APART_MS: u64 = 15_000;

/// The part of the node that asked: 50 requests, all of which took `rtt_ns`.
fn asked(first_sequence: u64, rtt_ns: f64, seen_ns: f64) -> LightRound {
    LightRound {
        first_sequence,
        stages: vec![stage(Side::Client, Direction::Request, 50, seen_ns)],
        ..round("e", 50, 0, rtt_ns)
    }
}

/// The part of the node that answered.
fn answered(first_sequence: u64, answered: u64, seen_ns: f64) -> LightWatched {
    LightWatched {
        edge: "e".to_owned(),
        first_sequence,
        age_ms: 0,
        answered,
        stages: vec![stage(Side::Server, Direction::Request, 50, seen_ns)],
        no_probe: None,
    }
}

#[test]
fn the_wire_is_what_neither_node_saw() {
    let mut joints = Joints::default();
    assert_eq!(joints.client(false, &asked(7, 1e5, 4e4), 0, APART_MS), None);
    let wire = joints
        .server(false, &answered(7, 50, 5e4), APART_MS)
        .unwrap();
    assert!((wire.mean_ns - 1e4).abs() < 1.0, "{wire:?}");
    assert_eq!(wire.requests, 50);
    // Either part may come first.
    joints.server(false, &answered(9, 50, 5e4), APART_MS);
    let wire = joints.client(false, &asked(9, 1e5, 3e4), 0, APART_MS);
    assert!(wire.is_some_and(|wire| (wire.mean_ns - 2e4).abs() < 1.0));
    // More than there was.
    joints.server(false, &answered(11, 50, 8e4), APART_MS);
    let wire = joints.client(false, &asked(11, 1e5, 3e4), 0, APART_MS);
    assert_eq!(wire, None);
}

#[test]
fn parts_of_different_rounds_and_of_different_requests_are_not_joined() {
    let mut joints = Joints::default();
    joints.client(true, &asked(7, 1e5, 4e4), 0, APART_MS);
    for other in [
        answered(8, 50, 5e4),
        // The probe came too late for the first request.
        answered(7, 49, 5e4),
        LightWatched {
            stages: Vec::new(),
            ..answered(7, 50, 5e4)
        },
    ] {
        assert_eq!(joints.server(true, &other, APART_MS), None);
    }
    let mut lossy = asked(9, 1e5, 4e4);
    (lossy.answered, lossy.lost) = (49, 1);
    joints.server(true, &answered(9, 49, 5e4), APART_MS);
    assert_eq!(joints.client(true, &lossy, 0, APART_MS), None);
    // Edges are apart.
    joints.server(false, &answered(7, 50, 5e4), APART_MS);
    assert_eq!(joints.closure(0), None);
}

#[test]
fn a_pods_round_trip_is_explained_by_its_stages_and_the_wire_between_the_nodes() {
    let mut joints = Joints::default();
    let mut add = |number: u64, pod_ns: f64, missing_ns: f64| {
        let at_ms = 30_000 * number;
        joints.client(false, &asked(number, 1e5, 5e4), at_ms, APART_MS);
        joints.server(false, &answered(number, 50, 4e4), APART_MS);
        let seen_ns = (pod_ns - 1e4 - missing_ns) / 2.0;
        joints.client(true, &asked(number, pod_ns, seen_ns), at_ms + 500, APART_MS);
        joints.server(true, &answered(number, 50, seen_ns), APART_MS);
        joints.closure(at_ms)
    };
    let whole = add(1, 2e5, 0.0).unwrap();
    assert!((whole - 1.0).abs() < 1e-3, "{whole}");
    // One disturbed round changes nothing.
    add(2, 2e5, 0.0);
    assert!(add(3, 2e5, 9e4).is_some_and(|ratio| (ratio - 1.0).abs() < 1e-3));
    // A stage that nobody sees: half of the last ten rounds say so, then all.
    let half = (4..13)
        .map(|number| add(number, 2e5, 4e4))
        .collect::<Vec<_>>();
    let later = half.last().copied().flatten();
    assert!(later.is_some_and(|ratio| (ratio - 0.8).abs() < 1e-3));
    let first = half.first().copied().flatten();
    assert!(first.is_some_and(|ratio| (ratio - 0.9).abs() < 1e-3));
    // Nothing was told since.
    assert_eq!(joints.closure(30_000 * 14), None);
}

#[test]
fn what_no_probe_can_have_seen_is_known() {
    let good = stage(Side::Client, Direction::Request, 50, 1e3);
    assert!(sensible(&[]) && sensible(std::slice::from_ref(&good)));
    let spoil: [fn(&mut Stage); 5] = [
        |stage| stage.mean_ns = -1.0,
        |stage| stage.mean_ns = f64::NAN,
        |stage| stage.mean_ns = 1e300,
        |stage| stage.packets = Some(u64::MAX),
        |stage| stage.histogram = Some(vec![(1, u64::MAX), (2, 1)]),
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert!(!sensible(&[bad]), "{number}");
    }
}
