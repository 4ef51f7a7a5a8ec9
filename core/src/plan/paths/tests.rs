//! Paths between the endpoints of two nodes.

use super::{super::service::tests::echo, *};

/// Two nodes with two pods each in two networks, as the lab has them.
pub(crate) fn inventory() -> Inventory {
    let pod = |node: u8, letter: char, last: u8| InventoryPod {
        name: format!("lab/n{node}-{letter}"),
        uid: None,
        addresses: [("vxlan", 18), ("host-gw", 19)]
            .map(|(network, net)| (network.to_owned(), IpAddr::from([198, net, node, last])))
            .into(),
    };
    let node = |number: u8| InventoryNode {
        name: format!("n{number}"),
        address: IpAddr::from([198, 18, 255, number]),
        agent: ([198, 18, 255, number], 9470).into(),
        pods: vec![pod(number, 'a', 2), pod(number, 'b', 3)],
    };
    Inventory {
        networks: vec!["vxlan".to_owned(), "host-gw".to_owned()],
        nodes: vec![node(1), node(2)],
        services: vec![echo()],
    }
}

fn route(from: &str, to: &str, network: Option<&str>) -> Result<Route, PlanError> {
    classify(
        &from.parse().unwrap(),
        &to.parse().unwrap(),
        network,
        TestType::TcpRr,
        &inventory(),
    )
}

#[test]
fn every_kind_is_found_with_its_addresses() {
    for (from, to, asked, kind, network, client, server) in [
        (
            "node/n1",
            "node/n1",
            None,
            PathKind::Loopback,
            None,
            "127.0.0.1",
            "127.0.0.1",
        ),
        (
            "pod/lab/n1-a",
            "pod/lab/n1-a",
            None,
            PathKind::Loopback,
            None,
            "127.0.0.1",
            "127.0.0.1",
        ),
        (
            "node/n1",
            "node/n2",
            Some("vxlan"),
            PathKind::HostToHost,
            None,
            "198.18.255.1",
            "198.18.255.2",
        ),
        (
            "pod/lab/n1-a",
            "pod/lab/n1-b",
            Some("host-gw"),
            PathKind::PodToPodSameNode,
            None,
            "198.18.1.2",
            "198.18.1.3",
        ),
        (
            "pod/lab/n1-a",
            "pod/lab/n2-b",
            None,
            PathKind::PodToPod,
            Some("vxlan"),
            "198.18.1.2",
            "198.18.2.3",
        ),
        (
            "pod/lab/n2-a",
            "pod/lab/n1-a",
            Some("host-gw"),
            PathKind::PodToPod,
            Some("host-gw"),
            "198.19.2.2",
            "198.19.1.2",
        ),
        (
            "node/n1",
            "pod/lab/n2-a",
            None,
            PathKind::HostToPod,
            Some("vxlan"),
            "198.18.255.1",
            "198.18.2.2",
        ),
        (
            "pod/lab/n1-a",
            "node/n2",
            None,
            PathKind::PodToHost,
            Some("vxlan"),
            "198.18.1.2",
            "198.18.255.2",
        ),
    ] {
        let found = route(from, to, asked).unwrap();
        assert_eq!(found.path.kind, kind, "{from} {to}");
        assert_eq!(found.path.network.as_deref(), network, "{from} {to}");
        assert_eq!(found.client.address.to_string(), client, "{from} {to}");
        assert_eq!(found.server.address.to_string(), server, "{from} {to}");
        assert!(from.contains(&found.client.node) && to.contains(&found.server.node));
    }
}

#[test]
fn a_path_to_a_service_ends_at_one_of_its_backends() {
    let (echo, vxlan) = ("service/lab/echo", Some("vxlan"));
    let (at_80, at_81) = ("198.18.128.1:80", "198.18.128.1:81");
    let own = "198.18.128.1";
    for (from, to, kind, network, server, address, leaves_to) in [
        (
            "pod/lab/n1-a",
            echo,
            PathKind::PodToService,
            vxlan,
            "pod/lab/n2-a",
            at_80,
            own,
        ),
        (
            "node/n2",
            echo,
            PathKind::HostToService,
            vxlan,
            "pod/lab/n1-a",
            at_80,
            "198.18.1.2",
        ),
        (
            "pod/lab/n1-b",
            "service/lab/echo:81",
            PathKind::PodToService,
            None,
            "pod/lab/n1-a",
            at_81,
            own,
        ),
        (
            "pod/lab/n1-a",
            "service/lab/echo:81",
            PathKind::Hairpin,
            None,
            "pod/lab/n1-a",
            at_81,
            own,
        ),
        (
            "node/n1",
            "service/lab/echo@n2",
            PathKind::NodePort,
            vxlan,
            "pod/lab/n2-a",
            "198.18.255.2:30080",
            "198.18.255.2",
        ),
        (
            "node/n1",
            "service/lab/echo@n1",
            PathKind::NodePort,
            vxlan,
            "pod/lab/n2-a",
            "198.18.255.1:30080",
            "198.18.2.2",
        ),
    ] {
        let found = route(from, to, None).unwrap();
        assert_eq!(found.path.kind, kind, "{from} {to}");
        assert_eq!(found.path.network.as_deref(), network, "{from} {to}");
        assert_eq!(found.path.to.to_string(), to);
        assert_eq!(found.server.endpoint.to_string(), server, "{from} {to}");
        let service = found.service.unwrap();
        assert_eq!(service.target_port, 9481);
        assert_eq!(service.leaves_to.to_string(), leaves_to, "{from} {to}");
        assert_eq!(service.address.to_string(), address);
    }
    let found = classify(
        &"pod/lab/n1-a".parse().unwrap(),
        &"url/http://a/".parse().unwrap(),
        None,
        TestType::HttpRr,
        &inventory(),
    );
    let found = found.unwrap();
    assert_eq!(found.path.kind, PathKind::External);
    assert_eq!(found.server, found.client);
    assert_eq!(found.client.address.to_string(), "198.18.1.2");
    let [from, to] = ["pod/lab/n1-a", "service/lab/echo"].map(|end| end.parse().unwrap());
    let found = classify(&from, &to, None, TestType::PathCost, &inventory()).unwrap_err();
    assert!(found.to_string().contains("path_cost cannot be measured"));
}

#[test]
fn errors_name_what_there_is() {
    for (from, to, network, expected) in [
        (
            "node/n3",
            "node/n1",
            None,
            "there is no node/n3; there are node/n1, pod/lab/n1-a, pod/lab/n1-b, node/n2",
        ),
        (
            "node/n1",
            "pod/lab/x",
            None,
            "there is no pod/lab/x; there are node/n1",
        ),
        (
            "pod/lab/n1-a",
            "pod/lab/n2-a",
            Some("ipip"),
            "no pod network 'ipip'; there are vxlan, host-gw",
        ),
        (
            "node/n1",
            "netns/x",
            None,
            "netns/x cannot be this end of a path",
        ),
        (
            "service/lab/echo",
            "node/n1",
            None,
            "service/lab/echo cannot be this end of a path",
        ),
        (
            "node/n1",
            "service/lab/web",
            None,
            "there is no service/lab/web; there are service/lab/echo",
        ),
        ("node/n1", "pod/lab/n1-a", None, "choose two pods"),
    ] {
        let found = route(from, to, network).unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    }
    let mut inventory = inventory();
    inventory.nodes[1].pods[0].addresses.remove("host-gw");
    let [from, to] = ["pod/lab/n1-a", "pod/lab/n2-a"].map(|end| end.parse().unwrap());
    let found = classify(&from, &to, Some("host-gw"), TestType::TcpRr, &inventory).unwrap_err();
    assert_eq!(
        found.to_string(),
        "pod/lab/n2-a has no address in the pod network 'host-gw'; it has one in vxlan"
    );
}
