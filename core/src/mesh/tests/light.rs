//! What agents have to do.

use std::{net::SocketAddr, sync::Arc};

use super::*;
use crate::{
    api::{LIGHT_PORT, LightEdge, LightPlan, LightResponder},
    inventory::{Member, PodFacts},
};

#[test]
fn agents_accept_their_plans_and_know_both_sides() {
    let bed = cluster(60);
    let plan = Plan::new(&bed, &with(|s| s.neighbours = 16));
    let lights: Vec<_> = (0..60).map(|member| plan.light(member)).collect();
    let responders: BTreeSet<_> = lights
        .iter()
        .flat_map(|light| &light.responders)
        .map(|responder| (responder.place.address, responder.port))
        .collect();
    assert_eq!(responders.len(), 120);
    let mut ids = BTreeSet::new();
    for light in &lights {
        assert_eq!(light.check(), Ok(()));
        for edge in &light.edges {
            assert!(responders.contains(&(edge.to, edge.to_port)));
            assert!(ids.insert(edge.id.clone()));
            assert_eq!(edge.to_port, LIGHT_PORT);
            let pods = edge.path.kind == PathKind::PodToPod;
            assert_eq!(edge.path.network.is_some(), pods);
            assert_eq!(edge.from.pod_uid.is_some(), pods);
        }
        // The probe follows one pair, on both paths.
        assert_eq!(light.edges.iter().filter(|edge| edge.probe).count(), 2);
    }
    assert_eq!(ids.len(), 2 * plan.pairs().len());
    let edges = lights.iter().flat_map(|light| &light.edges);
    let flow = |edge: &LightEdge| {
        let from = SocketAddr::new(edge.from.address, edge.from_port);
        (
            edge.id.clone(),
            from,
            SocketAddr::new(edge.to, edge.to_port),
        )
    };
    let probed: BTreeSet<_> = edges.filter(|edge| edge.probe).map(flow).collect();
    let watches = lights.iter().flat_map(|light| &light.watches);
    let watched = watches.map(|watch| {
        let LightResponder { place, port, .. } = &watch.responder;
        let to = SocketAddr::new(place.address, *port);
        (watch.edge.clone(), watch.from, to)
    });
    assert_eq!(watched.collect::<BTreeSet<_>>(), probed);
}

#[test]
fn rounds_of_a_node_do_not_meet_and_those_of_nodes_are_spread() {
    let plan = Plan::new(&cluster(60), &Settings::default());
    let mut begins = Vec::new();
    for member in 0..60 {
        let mut offsets: Vec<u32> = plan
            .light(member)
            .edges
            .iter()
            .map(|e| e.offset_ms)
            .collect();
        offsets.sort_unstable();
        let apart = |pair: &[u32]| pair[1] - pair[0] >= 500;
        assert!(offsets.windows(2).all(apart), "{offsets:?}");
        assert!(offsets.iter().all(|&offset| offset < 30_000));
        begins.extend(offsets);
    }
    for third in 0..3 {
        let range = third * 10_000..(third + 1) * 10_000;
        let share =
            begins.iter().filter(|&b| range.contains(b)).count() as f64 / begins.len() as f64;
        assert!((0.25..0.42).contains(&share), "{share}");
    }
}

/// The light plans of all members, by name.
fn lights(bed: &Cluster, settings: &Settings) -> BTreeMap<String, LightPlan> {
    let plan = Plan::new(bed, settings);
    let of = |(index, member): (usize, &Arc<Member>)| (member.name.clone(), plan.light(index));
    plan.members().iter().enumerate().map(of).collect()
}

#[test]
fn a_node_that_comes_changes_few_light_plans() {
    let mut bed = cluster(40);
    let before = lights(&bed, &Settings::default());
    node(41, "zone-c")
        .into_iter()
        .for_each(|event| bed.apply(event));
    let after = lights(&bed, &Settings::default());
    let changed = before
        .iter()
        .filter(|(name, light)| after[*name].version != light.version)
        .count();
    // Those before it on the ring, those whose zones' pairs change: not all.
    assert!((5..=5 + 16).contains(&changed), "{changed}");
}

/// The version is known without the plan: it must not miss anything that is in it.
#[test]
fn a_light_plan_has_another_version_exactly_where_it_says_something_else() {
    let settings = with(|s| s.probed_pairs = 2);
    let mut bed = cluster(30);
    let mut all = vec![
        lights(&bed, &settings),
        lights(&bed, &with(|s| (s.probed_pairs, s.tcp_rr) = (2, true))),
        lights(&bed, &with(|s| s.probed_pairs = 1)),
        lights(&bed, &with(|s| s.neighbours = 4)),
        lights(&bed, &with(|s| s.zone_pairs = 1)),
        lights(&bed, &with(|s| (s.probed_pairs, s.period_ms) = (2, 40_000))),
        lights(&bed, &with(|s| (s.probed_pairs, s.requests) = (2, 51))),
        lights(&bed, &with(|s| (s.probed_pairs, s.payload_bytes) = (2, 65))),
        lights(
            &bed,
            &with(|s| (s.probed_pairs, s.requests_per_second) = (2, 101)),
        ),
        lights(&bed, &with(|s| (s.probed_pairs, s.timeout_ms) = (2, 999))),
        lights(&bed, &with(|s| (s.probed_pairs, s.idle_seconds) = (2, 599))),
    ];
    let mut change = |event: Event| {
        bed.apply(event);
        all.push(lights(&bed, &settings));
    };
    let [
        Event::Node(mut facts),
        Event::Pod(agent),
        Event::Pod(mut pod),
        _,
    ] = <[Event; 4]>::try_from(node(7, "zone-b")).unwrap()
    else {
        panic!("a node, its agent and its endpoints");
    };
    facts.address = Some([198, 19, 0, 7].into());
    change(Event::Node(facts.clone()));
    facts.zone = Some("zone-a".to_owned());
    change(Event::Node(facts));
    // An agent that is another one is told by its pod's UID, and a plan says nothing of it.
    change(Event::Pod(PodFacts {
        uid: "a".to_owned(),
        ..agent
    }));
    pod.address = Some([198, 19, 1, 7].into());
    change(Event::Pod(pod.clone()));
    pod.name = "next".to_owned();
    change(Event::Pod(pod.clone()));
    let uid = std::mem::replace(&mut pod.uid, "next".to_owned());
    change(Event::PodGone { uid });
    change(Event::Pod(pod));
    change(Event::NodeGone("n7".to_owned()));
    let mut different = 0;
    for (one, other) in all
        .iter()
        .flat_map(|one| all.iter().map(move |other| (one, other)))
    {
        for (name, light) in one {
            let Some(known) = other.get(name) else {
                continue;
            };
            assert_eq!(light == known, light.version == known.version, "{name}");
            different += usize::from(light != known);
        }
    }
    assert!(different > 1_000, "{different}");
}

#[test]
fn who_is_not_chosen_has_nothing_to_do() {
    let mut bed = cluster(3);
    let Event::Node(mut facts) = node(3, "zone-a").remove(0) else {
        panic!("the first is the node");
    };
    facts.labels = Arc::new([("mesh".to_owned(), "no".to_owned())].into());
    bed.apply(Event::Node(facts));
    let mut state = State::default();
    state.plan_for(
        &bed,
        &with(|s| s.nodes = "mesh!=no".to_owned().try_into().unwrap()),
    );
    let order = |state: &State, node: &str| {
        let (member, version) = state.order(node).unwrap();
        assert_eq!(member.name, node);
        let light = state.light(node).unwrap();
        assert_eq!(version.is_none(), light == LightPlan::default());
        version
    };
    assert!(order(&state, "n1").is_some() && order(&state, "n3").is_none());
    state.plan_for(&bed, &with(|s| s.enabled = false));
    assert!(order(&state, "n1").is_none() && order(&state, "n3").is_none());
    assert!(state.order("n4").is_none() && state.light("n4").is_none());
}
