mod clock;
mod light;
mod members;
mod streams;
mod tcp;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    api::{LightPathMtu, LightRound, LightWatched, Times},
    device::DeviceKind,
    endpoint::PathKind,
    histogram::{Histogram, USER_SUB_BITS},
    hop::{Direction, Side},
    inventory::{
        Cluster, Event,
        tests::{cluster, node},
    },
    report::{Stage, StageClass},
};

/// A round of an edge whose answers all took about `mean_ns`.
pub(super) fn round(edge: &str, answered: u64, lost: u64, mean_ns: f64) -> LightRound {
    let mut times = Histogram::new(USER_SUB_BITS);
    times.record_n(mean_ns as u64, answered);
    LightRound {
        sequence: 1,
        edge: edge.to_owned(),
        age_ms: 0,
        sent: answered + lost,
        answered,
        lost,
        rtt: if answered > 0 {
            times.to_times()
        } else {
            Times::default()
        },
        ..LightRound::default()
    }
}

/// A stage that so many packets passed, each in `mean_ns`.
pub(super) fn stage(side: Side, direction: Direction, packets: u64, mean_ns: f64) -> Stage {
    Stage {
        side: Some(side),
        direction,
        stage: "encap".to_owned(),
        class: Some(StageClass::Work),
        device: None,
        device_kind: Some(DeviceKind::Vxlan),
        derived: false,
        packets: Some(packets),
        segments: None,
        ack_packets: None,
        bytes: None,
        mean_ns,
        p50_ns: None,
        p99_ns: None,
        histogram: Some(vec![(mean_ns as u64, packets)]),
        histogram_many_segments: None,
        cpu_ns_per_packet: None,
        cpu_ns_per_byte: None,
    }
}

fn with(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings);
    settings
}

/// Names of a plan's pairs.
fn named(plan: &Plan, why: impl Fn(Why) -> bool) -> BTreeSet<(String, String)> {
    let name = |index: usize| plan.members()[index].name.clone();
    let pairs = plan.pairs().iter().filter(|pair| why(pair.why));
    pairs.map(|pair| (name(pair.from), name(pair.to))).collect()
}

fn ring(why: Why) -> bool {
    why != Why::Zones
}

#[test]
fn each_node_probes_k_and_is_probed_by_k() {
    for nodes in [1, 2, 3, 5, 6, 7, 50, 333] {
        for k in [1, 2, 5, 16] {
            let settings = with(|s| (s.neighbours, s.node_cpu_permille) = (k, 20));
            let plan = Plan::new(&cluster(nodes), &settings);
            let mut degrees: BTreeMap<String, [usize; 2]> = BTreeMap::new();
            for (from, to) in named(&plan, ring) {
                assert_ne!(from, to);
                degrees.entry(from).or_default()[0] += 1;
                degrees.entry(to).or_default()[1] += 1;
            }
            let expected = k.min(nodes as usize - 1);
            assert!(degrees.values().all(|degree| *degree == [expected; 2]));
            assert_eq!(degrees.len(), if nodes > 1 { nodes as usize } else { 0 });
            assert_eq!(plan.left_out(), 0);
        }
    }
}

#[test]
fn one_more_node_changes_few_pairs() {
    let mut bed = cluster(300);
    let settings = with(|s| (s.neighbours, s.zone_pairs) = (7, 3));
    let mut before = Plan::new(&bed, &settings);
    for number in 301..340 {
        node(number, ["zone-a", "zone-b", "zone-c"][number as usize % 3])
            .into_iter()
            .for_each(|event| bed.apply(event));
        let after = Plan::new(&bed, &settings);
        let changes = |of: fn(Why) -> bool| {
            let [old, new] = [&before, &after].map(|plan| named(plan, of));
            [new.difference(&old).count(), old.difference(&new).count()]
        };
        let [begun, ended] = changes(ring);
        assert!(begun <= 2 * 7 + 2 && ended <= 2 * 7 + 2, "{begun} {ended}");
        // At most r begin and r end of each pair of zones that the node's zone is in: 4 of 6.
        let [begun, ended] = changes(|why| why == Why::Zones);
        assert!(begun <= 3 * 4 && ended <= 3 * 4, "{begun} {ended}");
        before = after;
    }
    // And one that leaves.
    bed.apply(Event::NodeGone("n17".to_owned()));
    let after = Plan::new(&bed, &settings);
    let [old, new] = [&before, &after].map(|plan| named(plan, ring));
    assert!(new.difference(&old).count() <= 7 && old.difference(&new).count() <= 14);
}

#[test]
fn each_two_zones_have_their_pairs() {
    let bed = cluster(90);
    let plan = Plan::new(&bed, &with(|s| (s.neighbours, s.zone_pairs) = (1, 4)));
    let mut zones: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for pair in plan.pairs() {
        let [from, to] = [pair.from, pair.to].map(|end| plan.members()[end].zone.as_str());
        if from != to {
            *zones.entry((from, to)).or_default() += 1;
        }
    }
    assert_eq!(zones.len(), 6);
    assert!(zones.values().all(|&count| count >= 4), "{zones:?}");
    // Zones of one node each, and nodes without a zone.
    let mut bed = Cluster::new("vxlan");
    for number in 1..=100 {
        let zone = format!("zone-{number}");
        node(number, &zone).into_iter().for_each(|e| bed.apply(e));
    }
    let plan = Plan::new(&bed, &Settings::default());
    assert!(
        plan.pairs().len() <= 100 * (5 + 16),
        "not the square of the nodes"
    );
    let mut bed = Cluster::new("vxlan");
    (1..=10).for_each(|n| node(n, "").into_iter().for_each(|e| bed.apply(e)));
    assert!(named(&Plan::new(&bed, &Settings::default()), |why| !ring(why)).is_empty());
}

#[test]
fn the_load_of_a_node_does_not_grow_with_the_cluster() {
    let most = |nodes: u32| {
        let plan = Plan::new(&cluster(nodes), &Settings::default());
        let mut loads = vec![[0; 2]; plan.members().len()];
        for pair in plan.pairs() {
            loads[pair.from][0] += 1;
            loads[pair.to][1] += 1;
        }
        loads.into_iter().flatten().max().unwrap()
    };
    assert!(most(50) <= 5 + 4 && most(1_000) <= 5 + 4);
}

#[test]
fn budgets_make_the_mesh_thinner_and_say_so() {
    let bed = cluster(100);
    let full = Plan::new(&bed, &Settings::default());
    let thin = Plan::new(&bed, &with(|s| s.node_bits_per_second = 21_000));
    assert_eq!(thin.neighbours(), 3);
    // Some pairs of zones were neighbours too, and are wanted twice now.
    let all = thin.left_out() + thin.pairs().len();
    assert!(
        (full.pairs().len()..full.pairs().len() + 12).contains(&all),
        "{all}"
    );
    let few = Plan::new(&bed, &with(|s| s.cluster_bits_per_second = 7_000 * 150));
    assert_eq!(few.neighbours(), 1);
    assert!(few.pairs().len() <= 150);
    // Series are fewer, measurements not.
    let quiet = Plan::new(&bed, &with(|s| s.max_series = SERIES_PER_PAIR * 120));
    assert_eq!(quiet.pairs().len(), full.pairs().len());
    assert_eq!(quiet.unexported(), full.pairs().len() - 120);
    let exported = quiet.pairs().iter().filter(|pair| pair.exported);
    assert_eq!(exported.count(), 120);
    assert!(
        Plan::new(&bed, &with(|s| s.enabled = false))
            .pairs()
            .is_empty()
    );
}

/// Two nodes' state, and the ids of the edges from `n1`: between nodes, between pods.
fn state() -> (Cluster, State, [String; 2]) {
    let bed = cluster(2);
    let mut state = State::default();
    state.plan_for(&bed, &Settings::default());
    let member = state.plan().members().iter().position(|m| m.name == "n1");
    let light = state.plan().light(member.unwrap());
    let of = |kind| {
        light
            .edges
            .iter()
            .find(|e| e.path.kind == kind)
            .unwrap()
            .id
            .clone()
    };
    let ids = [of(PathKind::HostToHost), of(PathKind::PodToPod)];
    (bed, state, ids)
}

#[test]
fn rounds_become_edges_and_tolls() {
    let (_, mut state, [host, pod]) = state();
    assert_eq!(state.edges(0, true).count(), 0, "nothing is invented");
    for number in 0..12 {
        let now = 30_000 * number;
        state.take("n1", &round(&host, 50, 0, 100_000.0), now);
        let (judged, accepted) = state.take("n1", &round(&pod, 49, 1, 150_000.0), now + 500);
        let accepted = accepted.unwrap();
        assert_eq!(judged, Round::Counted);
        assert_eq!(
            (accepted.path, accepted.network),
            (PathKind::PodToPod, "vxlan")
        );
        assert_eq!((accepted.from_zone, accepted.to_zone), ("zone-b", "zone-c"));
    }
    let now = 30_000 * 11 + 600;
    let edges: Vec<_> = state.edges(now, true).collect();
    assert_eq!(edges.len(), 2);
    let [host, pod] = [edges[0], edges[1]];
    assert_eq!((host.requests, host.lost, host.up), (600, 0, Some(true)));
    assert_eq!((pod.requests, pod.lost), (600, 12));
    assert_eq!((pod.from.name.as_str(), pod.to.name.as_str()), ("n1", "n2"));
    let [p50, p99] = pod.rtt_ns.unwrap();
    assert!((p50 / 150_000.0 - 1.0).abs() < 0.07 && (p99 / 150_000.0 - 1.0).abs() < 0.07);
    assert!(host.toll.is_none());
    let toll = pod.toll.unwrap();
    let [mean, median] = toll.ratios().unwrap();
    assert!((mean - 1.5).abs() < 0.01 && (median - 1.5).abs() < 0.02);
    assert_eq!(toll.pairs(), 12);
    assert!(toll.intervals().unwrap()[0].resolved());
    assert_eq!(pod.last_success_ms, Some(30_000 * 11 + 500));
}

#[test]
fn a_broken_overlay_is_not_a_broken_node() {
    let (_, mut state, [host, pod]) = state();
    for now in [0, 30_000, 60_000] {
        state.take("n1", &round(&host, 50, 0, 1e5), now);
        state.take("n1", &round(&pod, 0, 50, 1e5), now);
    }
    let edges: Vec<_> = state.edges(60_000, true).collect();
    assert_eq!([edges[0].up, edges[1].up], [Some(true), Some(false)]);
    assert_eq!(edges[1].rtt_ns, None);
    assert!(edges[1].toll.is_none());
    // Without news nothing is said any more.
    assert_eq!(state.edges(180_000, true).count(), 2);
    assert_eq!(state.edges(180_001, true).count(), 0);
}

#[test]
fn only_an_edges_own_agent_speaks_of_it() {
    let (_, mut state, [host, _]) = state();
    for (node, edge) in [
        ("n2", host.as_str()),
        ("n1", "0000000000000000-h"),
        ("n1", "0000000000000000-ht"),
        ("n1", "x"),
        ("n1", ""),
    ] {
        let (judged, accepted) = state.take(node, &round(edge, 50, 0, 1e5), 0);
        assert_eq!((judged, accepted.is_none()), (Round::Unknown, true));
    }
    let mut failed = round(&host, 0, 0, 1e5);
    failed.failed = Some("no such pod".to_owned());
    assert_eq!(state.take("n1", &failed, 0).0, Round::Failed);
    assert_eq!(state.edges(0, false).count(), 0);
}

#[test]
fn rounds_of_the_plan_before_are_no_strangers() {
    let (mut bed, mut state, ids) = state();
    let judged = |state: &mut State| {
        ids.clone()
            .map(|id| state.take("n1", &round(&id, 50, 0, 1e5), 0).0)
    };
    assert_eq!(judged(&mut state), [Round::Counted; 2]);
    bed.apply(Event::NodeGone("n2".to_owned()));
    // More nodes come right after.
    for number in 3..6 {
        state.plan_for(&bed, &Settings::default());
        assert_eq!(judged(&mut state), [Round::Ended; 2]);
        node(number, "").into_iter().for_each(|e| bed.apply(e));
    }
    node(2, "").into_iter().for_each(|e| bed.apply(e));
    state.plan_for(&bed, &Settings::default());
    assert_eq!(judged(&mut state), [Round::Counted; 2]);
}

#[test]
fn each_nodes_stages_are_its_own_agents_affair() {
    let (_, mut state, [host, pod]) = state();
    let asked = |edge: &str| LightRound {
        first_sequence: 5,
        stages: vec![stage(Side::Client, Direction::Request, 50, 4e4)],
        ..round(edge, 50, 0, 1e5)
    };
    let answered = |edge: &str| LightWatched {
        edge: edge.to_owned(),
        first_sequence: 5,
        age_ms: 0,
        answered: 50,
        stages: vec![stage(Side::Server, Direction::Request, 50, 5e4)],
        no_probe: None,
    };
    for (node, edge) in [("n1", host.as_str()), ("n2", "x"), ("n2", "")] {
        assert!(state.take_watched(node, &answered(edge)).is_none());
    }
    for edge in [&host, &pod] {
        let (_, accepted) = state.take("n1", &asked(edge), 1_000);
        assert_eq!(accepted.unwrap().wire, None);
        let accepted = state.take_watched("n2", &answered(edge)).unwrap();
        assert!((accepted.wire.unwrap().mean_ns - 1e4).abs() < 1.0);
        assert_eq!((accepted.from_zone, accepted.to_zone), ("zone-b", "zone-c"));
        assert!(
            state.take_watched("n2", &answered(edge)).is_none(),
            "the same round once more"
        );
    }
    let closures: Vec<_> = state.edges(1_000, true).map(|edge| edge.closure).collect();
    assert_eq!(closures[0], None);
    assert!((closures[1].unwrap() - 1.0).abs() < 1e-3);
    // Nobody speaks of it for 20 periods.
    for now in [300_000, 602_000] {
        state.take("n1", &round(&pod, 50, 0, 1e5), now);
    }
    let closure = |now| state.edges(now, true).last().unwrap().closure;
    assert_eq!((closure(601_000).is_some(), closure(601_001)), (true, None));
}

#[test]
fn a_path_that_is_smaller_than_it_claims_is_known() {
    let (_, mut state, [host, pod]) = state();
    let test = |edge: &str, ok| LightPathMtu {
        edge: edge.to_owned(),
        age_ms: 100,
        bytes: 1_450,
        ok,
        refused: None,
    };
    state.take("n1", &round(&host, 50, 0, 1e5), 1_000);
    state.take("n1", &round(&pod, 50, 0, 1e5), 1_000);
    state.take_path_mtu("n1", &test(&host, true), 1_000);
    state.take_path_mtu("n1", &test(&pod, false), 1_000);
    // Not their own.
    state.take_path_mtu("n2", &test(&pod, true), 1_000);
    state.take_path_mtu("n1", &test("x", true), 1_000);
    let told: Vec<_> = state.edges(1_000, true).map(|e| e.path_mtu_ok).collect();
    assert_eq!(told, [Some(true), Some(false)]);
    // A path that is down has no size.
    for now in [31_000, 61_000, 91_000] {
        state.take("n1", &round(&pod, 0, 50, 1e5), now);
    }
    let told: Vec<_> = state.edges(91_000, true).map(|e| e.path_mtu_ok).collect();
    assert_eq!(told, [Some(true), None]);
}

#[test]
fn what_is_known_of_a_pair_outlives_other_nodes() {
    let (mut bed, mut state, [host, pod]) = state();
    state.take("n1", &round(&host, 50, 0, 1e5), 0);
    state.take("n1", &round(&pod, 50, 0, 1e5), 0);
    node(3, "zone-a")
        .into_iter()
        .for_each(|event| bed.apply(event));
    state.plan_for(&bed, &Settings::default());
    assert_eq!(state.edges(0, true).count(), 2);
    // Another pod in the place of the last one begins anew; the nodes' own path does not.
    let Event::Pod(mut facts) = node(2, "zone-c").remove(2) else {
        panic!("the third is the endpoint");
    };
    bed.apply(Event::PodGone { uid: facts.uid });
    facts.uid = "next".to_owned();
    bed.apply(Event::Pod(facts));
    state.plan_for(&bed, &Settings::default());
    let left: Vec<_> = state.edges(0, true).map(|edge| edge.path).collect();
    assert_eq!(left, [PathKind::HostToHost]);
    bed.apply(Event::NodeGone("n2".to_owned()));
    state.plan_for(&bed, &Settings::default());
    assert_eq!(state.edges(0, true).count(), 0);
}
