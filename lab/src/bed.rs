//! The devices, addresses and routes of a lab, as lines for iproute2.

use std::{fs, io, path::Path};

use crate::{
    Error, Network, Underlay, files,
    ip::{Tool, batch},
    lock::Lock,
    netns,
    plan::{self, Node, Plan, Pod, PodNetwork, Service, UNDERLAY_MTU, VXLAN_OVERHEAD},
    rules,
};

/// Flannel's VNI and port.
const VNI: u32 = 1;
const VXLAN_PORT: u16 = 8472;

/// Builds all of it; `go_on` is asked between the steps.
pub(crate) fn build(
    lock: &Lock,
    plan: &Plan,
    go_on: impl Fn() -> Result<(), Error>,
) -> Result<(), Error> {
    let names = plan.netns();
    let lines: Vec<_> = names
        .iter()
        .map(|name| format!("netns add {name}"))
        .collect();
    batch(lock, Tool::Ip, None, &lines)?;
    for name in &names {
        go_on()?;
        netns::within(name, settings)??;
        batch(lock, Tool::Ip, Some(name), &["link set lo up".to_owned()])?;
    }
    let controller = plan::netns(plan::CONTROLLER);
    batch(lock, Tool::Ip, Some(&controller), &management(plan))?;
    if plan.has_wire() {
        batch(lock, Tool::Ip, Some(&plan::netns(plan::WIRE)), &wire(plan))?;
    } else if plan.underlay == Underlay::Veth {
        batch(lock, Tool::Ip, None, &pair(plan))?;
    }
    for node in &plan.nodes {
        go_on()?;
        batch(lock, Tool::Ip, Some(&node.netns()), &host(plan, node))?;
    }
    for node in &plan.nodes {
        go_on()?;
        batch(
            lock,
            Tool::Ip,
            Some(&node.netns()),
            &pod_networks(plan, node),
        )?;
        batch(
            lock,
            Tool::Bridge,
            Some(&node.netns()),
            &tunnel_ends(plan, node),
        )?;
        if plan.has_services {
            let rules = rules::table(plan, node);
            batch(lock, Tool::Nft, Some(&node.netns()), &rules)?;
        }
        for pod in &node.pods {
            batch(
                lock,
                Tool::Ip,
                Some(&pod.netns()),
                &inside_pod(plan, node, pod),
            )?;
        }
    }
    Ok(())
}

/// Kernel settings of the namespace that the calling thread is in: it forwards, takes packets
/// that come back another way (pod to node over vxlan does), and no IPv6 makes noise.
fn settings() -> Result<(), files::Error> {
    for (key, value) in [
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
    ] {
        let path = Path::new("/proc/sys/net").join(key);
        match fs::write(&path, value) {
            // A kernel without IPv6 makes no noise either.
            Err(error) if error.kind() == io::ErrorKind::NotFound && key.starts_with("ipv6") => {}
            written => written.map_err(|source| files::Error::new("write", path, source))?,
        }
    }
    Ok(())
}

/// In the controller's namespace: the bridge for API and metrics, a port to each node.
fn management(plan: &Plan) -> Vec<String> {
    let mut lines = vec![
        "link add mgmt address 02:00:00:00:03:fe type bridge".to_owned(),
        format!("address add {}/24 dev mgmt", plan::controller_address()),
        "link set mgmt up".to_owned(),
    ];
    for node in &plan.nodes {
        lines.push(format!(
            "link add {} type veth peer name mgmt0 netns {}",
            node.name,
            node.netns()
        ));
        lines.push(format!("link set {} master mgmt up", node.name));
    }
    lines
}

/// Two nodes: one cable.
fn pair(plan: &Plan) -> Vec<String> {
    let names: Vec<_> = plan.nodes.iter().map(Node::netns).collect();
    vec![format!(
        "link add eth0 mtu {UNDERLAY_MTU} netns {} type veth peer name eth0 mtu {UNDERLAY_MTU} netns {}",
        names[0], names[1]
    )]
}

/// More nodes: a switch, in a namespace that belongs to none.
fn wire(plan: &Plan) -> Vec<String> {
    let mut lines = vec![
        format!("link add wire mtu {UNDERLAY_MTU} type bridge"),
        "link set wire up".to_owned(),
    ];
    for node in &plan.nodes {
        lines.push(format!(
            "link add {} mtu {UNDERLAY_MTU} type veth peer name eth0 mtu {UNDERLAY_MTU} netns {}",
            node.name,
            node.netns()
        ));
        lines.push(format!("link set {} master wire up", node.name));
    }
    lines
}

/// A node without its pods.
fn host(plan: &Plan, node: &Node) -> Vec<String> {
    let mut lines = Vec::new();
    if plan.underlay == Underlay::Tap {
        lines.push("tuntap add dev eth0 mode tap".to_owned());
    }
    lines.extend([
        format!("link set eth0 mtu {UNDERLAY_MTU} up"),
        format!("address add {}/24 dev eth0", node.address()),
        // A node's own programs need a way to services before these are translated.
        format!("route add {} dev eth0", Service::SUBNET),
        "link set mgmt0 up".to_owned(),
        format!("address add {}/24 dev mgmt0", node.management()),
    ]);
    lines
}

/// A node's side of its pods: the bridge with hairpin ports as flannel has the CNI bridge
/// plugin make it, and the ways to the other nodes' pods.
fn pod_networks(plan: &Plan, node: &Node) -> Vec<String> {
    let mtu = plan.pod_mtu();
    let mut lines = vec![format!(
        "link add cni0 address {} mtu {mtu} type bridge",
        node.bridge_mac()
    )];
    for network in plan.network.pod_networks() {
        lines.push(format!(
            "address add {}/24 brd + dev cni0",
            network.gateway(node.number)
        ));
    }
    lines.push("link set cni0 up".to_owned());
    for pod in &node.pods {
        let veth = pod.veth();
        lines.extend([
            format!(
                "link add {veth} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}",
                pod.netns()
            ),
            format!("link set {veth} master cni0 up"),
            format!("link set {veth} type bridge_slave hairpin on"),
        ]);
    }
    for network in plan.network.pod_networks() {
        match network {
            PodNetwork::Vxlan => lines.extend(tunnel(plan, node)),
            PodNetwork::HostGw => lines.extend(others(plan, node).map(|other| {
                format!(
                    "route add {} via {} dev eth0",
                    network.subnet(other.number),
                    other.address()
                )
            })),
        }
    }
    lines
}

/// Flannel's vxlan device: it learns nothing, all ends are written down. Its own MTU is that of
/// the routes over it.
fn tunnel(plan: &Plan, node: &Node) -> Vec<String> {
    let network = PodNetwork::Vxlan;
    let mut lines = vec![
        format!(
            "link add flannel.1 address {} mtu {} type vxlan id {VNI} local {} dev eth0 dstport {VXLAN_PORT} nolearning",
            node.tunnel_mac(),
            UNDERLAY_MTU - VXLAN_OVERHEAD,
            node.address()
        ),
        format!(
            "address add {}/32 dev flannel.1",
            network.address(node.number, 0)
        ),
        "link set flannel.1 up".to_owned(),
    ];
    for other in others(plan, node) {
        let end = network.address(other.number, 0);
        lines.push(format!(
            "neighbour add {end} lladdr {} dev flannel.1 nud permanent",
            other.tunnel_mac()
        ));
        lines.push(format!(
            "route add {} via {end} dev flannel.1 onlink",
            network.subnet(other.number)
        ));
    }
    lines
}

/// For `bridge`: on which node a tunnel's end is.
fn tunnel_ends(plan: &Plan, node: &Node) -> Vec<String> {
    if plan.network == Network::HostGw {
        return Vec::new();
    }
    others(plan, node)
        .map(|other| {
            format!(
                "fdb add {} dev flannel.1 dst {} self permanent",
                other.tunnel_mac(),
                other.address()
            )
        })
        .collect()
}

/// A pod's own side. Where both networks are there, the routes of each carry their own source
/// address, and those of vxlan its MTU: the devices have the underlay's.
fn inside_pod(plan: &Plan, node: &Node, pod: &Pod) -> Vec<String> {
    let mut lines = vec!["link set eth0 up".to_owned()];
    for network in plan.network.pod_networks() {
        lines.push(format!(
            "address add {}/24 brd + dev eth0",
            pod.address(*network)
        ));
    }
    for (index, network) in plan.network.pod_networks().iter().enumerate() {
        let gateway = network.gateway(node.number);
        let source = pod.address(*network);
        let mtu = match (plan.network, network) {
            (Network::Both, PodNetwork::Vxlan) => format!(" mtu {}", UNDERLAY_MTU - VXLAN_OVERHEAD),
            _ => String::new(),
        };
        let default = (index == 0).then(|| "default".to_owned());
        let subnets = others(plan, node).map(|other| network.subnet(other.number));
        lines.extend(
            default
                .into_iter()
                .chain(subnets)
                .map(|to| format!("route add {to} via {gateway} dev eth0 src {source}{mtu}")),
        );
    }
    lines
}

fn others<'a>(plan: &'a Plan, node: &'a Node) -> impl Iterator<Item = &'a Node> {
    plan.nodes
        .iter()
        .filter(move |other| other.number != node.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(network: Network) -> Plan {
        Plan::new(2, network, Underlay::Veth).unwrap()
    }

    #[test]
    fn a_vxlan_node_reads_as_flannel_builds_it() {
        let plan = plan(Network::Vxlan);
        assert_eq!(
            pod_networks(&plan, &plan.nodes[0]),
            [
                "link add cni0 address 02:00:00:00:02:01 mtu 1450 type bridge",
                "address add 198.18.1.1/24 brd + dev cni0",
                "link set cni0 up",
                "link add vethn1-a mtu 1450 type veth peer name eth0 mtu 1450 netns nettoll-n1-a",
                "link set vethn1-a master cni0 up",
                "link set vethn1-a type bridge_slave hairpin on",
                "link add vethn1-b mtu 1450 type veth peer name eth0 mtu 1450 netns nettoll-n1-b",
                "link set vethn1-b master cni0 up",
                "link set vethn1-b type bridge_slave hairpin on",
                "link add flannel.1 address 02:00:00:00:01:01 mtu 1450 type vxlan id 1 local \
                 198.18.0.1 dev eth0 dstport 8472 nolearning",
                "address add 198.18.1.0/32 dev flannel.1",
                "link set flannel.1 up",
                "neighbour add 198.18.2.0 lladdr 02:00:00:00:01:02 dev flannel.1 nud permanent",
                "route add 198.18.2.0/24 via 198.18.2.0 dev flannel.1 onlink",
            ]
        );
        assert_eq!(
            tunnel_ends(&plan, &plan.nodes[0]),
            ["fdb add 02:00:00:00:01:02 dev flannel.1 dst 198.18.0.2 self permanent"]
        );
    }

    #[test]
    fn a_pod_in_both_networks_answers_from_the_address_of_each() {
        let plan = plan(Network::Both);
        let node = &plan.nodes[0];
        assert_eq!(
            inside_pod(&plan, node, &node.pods[0]),
            [
                "link set eth0 up",
                "address add 198.18.1.2/24 brd + dev eth0",
                "address add 198.18.101.2/24 brd + dev eth0",
                "route add default via 198.18.1.1 dev eth0 src 198.18.1.2 mtu 1450",
                "route add 198.18.2.0/24 via 198.18.1.1 dev eth0 src 198.18.1.2 mtu 1450",
                "route add 198.18.102.0/24 via 198.18.101.1 dev eth0 src 198.18.101.2",
            ]
        );
    }

    #[test]
    fn host_gw_has_no_tunnel() {
        let plan = plan(Network::HostGw);
        let lines = pod_networks(&plan, &plan.nodes[1]);
        assert!(lines.contains(&"route add 198.18.101.0/24 via 198.18.0.1 dev eth0".to_owned()));
        assert!(!lines.iter().any(|line| line.contains("flannel.1")));
        assert!(tunnel_ends(&plan, &plan.nodes[1]).is_empty());
    }
}
