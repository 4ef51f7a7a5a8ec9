use std::{net::IpAddr, sync::Arc};

use super::*;

/// A node as watches tell it, with its own pods ready; names `n1`, `n2`, ….
pub(crate) fn node(number: u32, zone: &str) -> Vec<Event> {
    let [_, high, middle, low] = number.to_be_bytes();
    let host = IpAddr::from([10 + high, 1, middle, low]);
    let pod = |role, name: &str, network: u8| {
        Event::Pod(PodFacts {
            uid: format!("{name}-{number}"),
            namespace: "nettoll".to_owned(),
            name: format!("{name}-{number}"),
            node: Some(format!("n{number}")),
            address: Some(match role {
                Role::Agent => host,
                _ => IpAddr::from([10 + high, network, middle, low]),
            }),
            host_network: role == Role::Agent,
            ready: true,
            gone: false,
            role,
        })
    };
    let facts = NodeFacts {
        name: format!("n{number}"),
        address: Some(host),
        zone: Some(zone.to_owned()),
        ready: true,
        labels: Arc::default(),
    };
    vec![
        Event::Node(facts),
        pod(Role::Agent, "agent", 1),
        pod(Role::EndpointA, "a", 2),
        pod(Role::EndpointB, "b", 3),
    ]
}

/// `nodes` nodes in turn in three zones.
pub(crate) fn cluster(nodes: u32) -> Cluster {
    let mut cluster = Cluster::new("vxlan");
    for number in 1..=nodes {
        let zone = ["zone-a", "zone-b", "zone-c"][number as usize % 3];
        node(number, zone)
            .into_iter()
            .for_each(|event| cluster.apply(event));
    }
    cluster
}

/// A user's pod.
pub(crate) fn pod(namespace: &str, name: &str, node: &str) -> PodFacts {
    PodFacts {
        uid: format!("uid-{namespace}-{name}"),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        node: Some(node.to_owned()),
        address: Some(IpAddr::from([10, 9, 0, 1])),
        host_network: false,
        ready: true,
        gone: false,
        role: Role::Other,
    }
}

fn changed(event: &Event, change: impl FnOnce(&mut PodFacts)) -> Event {
    let Event::Pod(mut facts) = event.clone() else {
        panic!("no pod: {event:?}");
    };
    change(&mut facts);
    Event::Pod(facts)
}

fn member_names(cluster: &Cluster) -> Vec<String> {
    cluster
        .members()
        .map(|member| member.name.clone())
        .collect()
}

#[test]
fn the_inventory_has_nodes_with_a_ready_agent_and_their_endpoints() {
    let mut cluster = cluster(3);
    cluster.apply(changed(&node(2, "zone-c")[1], |pod| pod.ready = false));
    cluster.apply(changed(&node(3, "zone-a")[3], |pod| pod.ready = false));
    let inventory = cluster.inventory();
    assert_eq!(inventory.networks, ["vxlan"]);
    let nodes: Vec<_> = inventory.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(nodes, ["n1", "n3"]);
    let pods = |node: usize| -> Vec<_> {
        let pods = inventory.nodes[node].pods.iter();
        pods.map(|pod| (pod.name.as_str(), pod.uid.as_deref()))
            .collect()
    };
    assert_eq!(
        pods(0),
        [("nettoll/a-1", Some("a-1")), ("nettoll/b-1", Some("b-1"))]
    );
    assert_eq!(pods(1), [("nettoll/a-3", Some("a-3"))]);
    assert_eq!(inventory.nodes[0].agent.to_string(), "10.1.0.1:9470");
}

#[test]
fn a_jobs_pods_are_on_their_nodes() {
    let cluster = cluster(2);
    let pods = [pod("shop", "web", "n2"), pod("shop", "lost", "n9")];
    let inventory = cluster.with(&pods.iter().collect::<Vec<_>>(), &[]);
    assert_eq!(inventory.nodes[0].pods.len(), 2);
    assert_eq!(inventory.nodes[1].pods[2].name, "shop/web");
    assert_eq!(
        inventory.nodes[1].pods[2].uid.as_deref(),
        Some("uid-shop-web")
    );
    // One of nettoll's own pods is there once.
    let own = cluster.pod("a-1").unwrap();
    assert_eq!(cluster.with(&[own], &[]), cluster.inventory());
}

#[test]
fn the_order_of_events_does_not_matter() {
    let events: Vec<Event> = (1..=3).flat_map(|n| node(n, "zone-a")).collect();
    let mut random = crate::random::SplitMix64::new(1);
    let expected = {
        let mut cluster = Cluster::new("vxlan");
        events.iter().cloned().for_each(|e| cluster.apply(e));
        (
            cluster.inventory(),
            cluster.members().cloned().collect::<Vec<_>>(),
        )
    };
    for _ in 0..50 {
        let mut shuffled = events.clone();
        // Watches repeat themselves.
        shuffled.extend(events.iter().cloned());
        random.shuffle(&mut shuffled);
        let mut cluster = Cluster::new("vxlan");
        shuffled.into_iter().for_each(|e| cluster.apply(e));
        let found = (cluster.inventory(), cluster.members().cloned().collect());
        assert_eq!(found, expected);
        let generation = cluster.generation();
        events.iter().cloned().for_each(|e| cluster.apply(e));
        assert_eq!(cluster.generation(), generation, "nothing new");
    }
}

#[test]
fn a_member_stays_while_its_node_or_agent_fails() {
    let mut cluster = cluster(2);
    let generation = cluster.generation();
    let Event::Node(mut facts) = node(1, "zone-b").remove(0) else {
        panic!("the first is the node");
    };
    facts.ready = false;
    cluster.apply(Event::Node(facts.clone()));
    cluster.apply(changed(&node(1, "")[1], |pod| pod.ready = false));
    assert_eq!(member_names(&cluster), ["n1", "n2"]);
    assert_eq!(cluster.generation(), generation, "no edge changes");
    assert!(!cluster.has_agent("n1"));
    // The agent's pod is replaced: the mesh stays, the plan must go to the new one.
    cluster.apply(Event::PodGone {
        uid: "agent-1".to_owned(),
    });
    assert_eq!(cluster.members().next().unwrap().agent, None);
    cluster.apply(changed(&node(1, "")[1], |pod| pod.uid = "next".to_owned()));
    let member = cluster.members().next().unwrap();
    assert_eq!(member.agent_uid.as_deref(), Some("next"));
    assert!(cluster.generation() > generation);
    // Other labels may choose it or not.
    let generation = cluster.generation();
    facts.labels = Arc::new([("gpu".to_owned(), "yes".to_owned())].into());
    cluster.apply(Event::Node(facts));
    assert!(cluster.generation() > generation);
    // It leaves when it is gone, or is retired without an agent.
    cluster.apply(Event::NodeGone("n1".to_owned()));
    assert_eq!(member_names(&cluster), ["n2"]);
    cluster.apply(Event::PodGone {
        uid: "agent-2".to_owned(),
    });
    assert_eq!(member_names(&cluster), ["n2"]);
    cluster.retire("n2");
    assert_eq!(member_names(&cluster), Vec::<String>::new());
    cluster.apply(node(2, "zone-c").remove(1));
    assert_eq!(member_names(&cluster), ["n2"]);
    cluster.apply(Event::NodeGone("n2".to_owned()));
    assert_eq!(member_names(&cluster), Vec::<String>::new());
}

#[test]
fn a_node_joins_when_its_agent_is_first_ready() {
    let mut cluster = Cluster::new("vxlan");
    let events = node(1, "zone-a");
    cluster.apply(events[0].clone());
    cluster.apply(changed(&events[1], |pod| pod.ready = false));
    assert_eq!(cluster.members().count(), 0);
    cluster.apply(events[1].clone());
    let member = cluster.members().next().unwrap();
    assert_eq!((member.zone.as_str(), &member.pod), ("zone-a", &None));
    cluster.apply(events[2].clone());
    let member = cluster.members().next().unwrap();
    let pod = member.pod.as_ref().unwrap();
    assert_eq!(pod.endpoint.to_string(), "pod/nettoll/a-1");
    // An endpoint that is on its way out is none.
    cluster.apply(changed(&events[2], |pod| pod.gone = true));
    assert_eq!(cluster.members().next().unwrap().pod, None);
}

#[test]
fn pods_and_namespaces_are_found_until_they_are_gone() {
    let mut cluster = cluster(1);
    let mut old = pod("shop", "web-0", "n1");
    old.gone = true;
    let mut new = pod("shop", "web-0", "n1");
    new.uid = "zzz".to_owned();
    cluster.apply(Event::Pod(old.clone()));
    assert_eq!(cluster.pod_named("shop", "web-0"), Some(&old));
    cluster.apply(Event::Pod(new.clone()));
    assert_eq!(cluster.pod_named("shop", "web-0"), Some(&new));
    for uid in [old.uid, new.uid] {
        cluster.apply(Event::PodGone { uid });
    }
    assert_eq!(cluster.pod_named("shop", "web-0"), None);
    for allow in [true, false] {
        let name = "shop".to_owned();
        cluster.apply(Event::Namespace { name, allow });
        assert_eq!(cluster.allows("shop"), allow);
    }
    cluster.apply(Event::NamespaceGone("shop".to_owned()));
    assert!(!cluster.allows("shop") && !cluster.allows("other"));
}
