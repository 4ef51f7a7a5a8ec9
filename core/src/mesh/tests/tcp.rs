//! Rounds over TCP beside those over UDP.

use super::*;
use crate::{
    api::{LIGHT_PORT, Protocol},
    report::TestType,
};

fn both() -> Settings {
    with(|settings| settings.tcp_rr = true)
}

/// Two nodes' state, and the ids of the edges from `n1`, in the order of their rounds.
fn state() -> (Cluster, State, Vec<String>) {
    let bed = cluster(2);
    let mut state = State::default();
    state.plan_for(&bed, &both());
    let mut edges = state.light("n1").unwrap().edges;
    edges.sort_by_key(|edge| {
        (
            edge.protocol == Protocol::Tcp,
            edge.path.kind == PathKind::PodToPod,
        )
    });
    (bed, state, edges.into_iter().map(|edge| edge.id).collect())
}

#[test]
fn each_edge_has_one_over_tcp_beside_it() {
    let bed = cluster(60);
    let [udp, plan] = [Settings::default(), both()].map(|settings| Plan::new(&bed, &settings));
    assert_eq!(
        (udp.neighbours(), plan.neighbours()),
        (5, 4),
        "they cost twice as much"
    );
    for member in 0..60 {
        let light = plan.light(member);
        assert_eq!(light.check(), Ok(()));
        assert_eq!(light.responders.len(), 4);
        assert_eq!(light.edges.len(), 4 * plan.pairs_from(member).len());
        let mut offsets: Vec<u32> = light.edges.iter().map(|edge| edge.offset_ms).collect();
        offsets.sort_unstable();
        assert!(
            offsets.windows(2).all(|two| two[1] - two[0] >= 500),
            "{offsets:?}"
        );
        let (tcp, udp): (Vec<_>, Vec<_>) =
            (light.edges.iter()).partition(|edge| edge.protocol == Protocol::Tcp);
        for edge in &tcp {
            assert_eq!(
                (edge.from_port, edge.to_port, edge.probe),
                (0, LIGHT_PORT, false)
            );
            let beside = udp
                .iter()
                .find(|known| edge.id == format!("{}t", known.id))
                .unwrap();
            assert_eq!(
                (&edge.path, &edge.from, edge.to),
                (&beside.path, &beside.from, beside.to)
            );
            let later_ms = (edge.offset_ms + 30_000 - beside.offset_ms) % 30_000;
            assert_eq!(later_ms, 1_000);
        }
        assert_eq!(tcp.len(), udp.len());
    }
    assert_ne!(udp.light(0).version, plan.light(0).version);
}

#[test]
fn they_are_edges_of_their_own_with_a_toll_of_their_own() {
    let (_, mut state, ids) = state();
    for number in 0..3 {
        let now = 30_000 * number;
        for (id, mean_ns) in ids.iter().zip([1e5, 2e5, 4e5, 6e5]) {
            let (judged, accepted) = state.take("n1", &round(id, 50, 0, mean_ns), now);
            assert_eq!(judged, Round::Counted);
            let tcp = id.ends_with('t');
            let test = if tcp {
                TestType::TcpRr
            } else {
                TestType::UdpRr
            };
            assert_eq!(accepted.unwrap().test, test);
        }
    }
    let edges: Vec<_> = state.edges(60_000, true).collect();
    let is = |edge: &EdgeView<'_>| (edge.test, edge.path, edge.requests);
    assert_eq!(
        edges.iter().map(is).collect::<Vec<_>>(),
        [
            (TestType::UdpRr, PathKind::HostToHost, 150),
            (TestType::UdpRr, PathKind::PodToPod, 150),
            (TestType::TcpRr, PathKind::HostToHost, 150),
            (TestType::TcpRr, PathKind::PodToPod, 150),
        ]
    );
    for (edge, toll) in [(1, 2.0), (3, 1.5)] {
        let [mean, _] = edges[edge].toll.unwrap().ratios().unwrap();
        assert!((mean - toll).abs() < 0.02, "{mean}");
    }
    // A path that swallows TCP alone.
    for now in [90_000, 120_000, 150_000] {
        state.take("n1", &round(&ids[1], 50, 0, 2e5), now);
        state.take("n1", &round(&ids[3], 0, 50, 6e5), now);
    }
    let up: Vec<_> = state.edges(150_000, true).map(|edge| edge.up).collect();
    assert_eq!(up, [Some(true), Some(true), Some(true), Some(false)]);
}

#[test]
fn the_mtu_and_the_stages_are_of_udp_alone() {
    let (_, mut state, ids) = state();
    for id in &ids[2..] {
        let staged = LightRound {
            first_sequence: 5,
            stages: vec![stage(Side::Client, Direction::Request, 50, 4e4)],
            ..round(id, 50, 0, 1e5)
        };
        assert_eq!(state.take("n1", &staged, 0).0, Round::Counted);
        let watched = LightWatched {
            edge: id.clone(),
            first_sequence: 5,
            age_ms: 0,
            answered: 50,
            stages: vec![stage(Side::Server, Direction::Request, 50, 4e4)],
            no_probe: None,
        };
        assert!(state.take_watched("n2", &watched).is_none());
        let test = LightPathMtu {
            edge: id.clone(),
            age_ms: 0,
            bytes: 1_450,
            ok: false,
            refused: None,
        };
        state.take_path_mtu("n1", &test, 0);
    }
    let told = state
        .edges(0, true)
        .map(|edge| (edge.path_mtu_ok, edge.closure));
    assert_eq!(told.collect::<Vec<_>>(), [(None, None); 2]);
}

#[test]
fn without_the_setting_there_are_none_and_what_was_known_is_gone() {
    let (mut bed, mut state, ids) = state();
    let take = |state: &mut State| -> Vec<Round> {
        let rounds = ids.iter().map(|id| round(id, 50, 0, 1e5));
        rounds.map(|round| state.take("n1", &round, 0).0).collect()
    };
    assert_eq!(take(&mut state), [Round::Counted; 4]);
    // Another pod in the place of the last one.
    let Event::Pod(mut facts) = node(2, "zone-c").remove(2) else {
        panic!("the third is the endpoint");
    };
    bed.apply(Event::PodGone { uid: facts.uid });
    facts.uid = "next".to_owned();
    bed.apply(Event::Pod(facts));
    state.plan_for(&bed, &both());
    let left: Vec<_> = state
        .edges(0, true)
        .map(|edge| (edge.test, edge.path))
        .collect();
    let host = PathKind::HostToHost;
    assert_eq!(left, [(TestType::UdpRr, host), (TestType::TcpRr, host)]);

    state.plan_for(&bed, &Settings::default());
    let (counted, ended) = (Round::Counted, Round::Ended);
    assert_eq!(take(&mut state), [counted, counted, ended, ended]);
    state.plan_for(&bed, &both());
    assert!(
        state
            .edges(0, true)
            .all(|edge| edge.test == TestType::UdpRr)
    );
}
