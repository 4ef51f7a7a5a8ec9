//! What an agent finds in the lab's namespaces, and what it makes of a path.

use anyhow::{Context as _, Result};
use nettoll_core::{
    api::{AgentInfo, ErrorBody, ResolveRequest, Resolved},
    device::{Device, DeviceKind},
};
use nettoll_lab::{Lab, Network, Options, command_in, netns};
use nettoll_tests::{
    agent::{Agent, Certificates},
    output_of, require_root,
};

/// An address of node n1 that is on no card, as nodes have it whose routes come by BGP.
const OF_LO: &str = "198.18.0.77";
/// One of another card.
const OF_CARD: &str = "198.18.0.78";

struct Bed {
    agents: Vec<Agent>,
    lab: Lab,
}

impl Bed {
    fn up(network: Network) -> Result<Self> {
        require_root()?;
        let lab = Lab::up(&Options {
            network,
            ..Options::default()
        })?;
        let certificates = Certificates::new()?;
        let agents: Result<_> = lab
            .plan()
            .nodes
            .iter()
            .map(|node| Agent::start(node, &certificates))
            .collect();
        Ok(Self {
            agents: agents?,
            lab,
        })
    }

    fn resolve(&self, endpoint: &str, local: &str, peer: &str) -> Result<Resolved> {
        self.agents[0].ask("POST", "/v1/resolve", &ask(endpoint, local, peer)?)
    }
}

fn ask(endpoint: &str, local: &str, peer: &str) -> Result<ResolveRequest> {
    Ok(ResolveRequest {
        endpoint: endpoint.parse()?,
        pod_uid: None,
        local_address: local.parse()?,
        peer_address: peer.parse()?,
        peer_node_address: Some("198.18.0.2".parse()?),
    })
}

/// Runs `ip` in the namespace of node n1.
fn ip(arguments: &[&str]) -> Result<()> {
    let mut ip = command_in("n1", "ip")?;
    output_of(ip.args(arguments), "ip", "").map(drop)
}

fn device<'a>(resolved: &'a Resolved, place: &str, name: &str) -> Result<&'a Device> {
    resolved
        .devices
        .iter()
        .find(|device| device.place == place && device.name == name)
        .with_context(|| format!("no {name} in {place}: {:#?}", resolved.devices))
}

/// `place name` of the devices that `which` is true of.
fn those(resolved: &Resolved, which: impl Fn(&Device) -> bool) -> Vec<String> {
    let devices = resolved.devices.iter().filter(|device| which(device));
    devices
        .map(|device| format!("{} {}", device.place, device.name))
        .collect()
}

#[test]
fn devices_are_joined_over_namespaces() -> Result<()> {
    let bed = Bed::up(Network::Vxlan)?;
    let resolved = bed.resolve("pod/lab/n1-a", "198.18.1.2", "198.18.2.2")?;
    let pod = device(&resolved, "pod/lab/n1-a", "eth0")?;
    let veth = device(&resolved, "node/n1", "vethn1-a")?;
    let bridge = device(&resolved, "node/n1", "cni0")?;
    let tunnel = device(&resolved, "node/n1", "flannel.1")?;
    let under = device(&resolved, "node/n1", "eth0")?;

    assert_eq!(
        u64::from(resolved.netns),
        netns::inode("nettoll-n1-a").context("no inode")?
    );
    assert_eq!(pod.id.netns, resolved.netns);
    assert_eq!(
        u64::from(veth.id.netns),
        netns::inode("nettoll-n1").context("no inode")?
    );
    assert_eq!((pod.kind, veth.kind), (DeviceKind::Veth, DeviceKind::Veth));
    assert_eq!((pod.peer, veth.peer), (Some(veth.id), Some(pod.id)));
    assert_eq!((veth.master, pod.master), (Some(bridge.id), None));
    assert_eq!(bridge.kind, DeviceKind::Bridge);
    assert_eq!(
        (tunnel.kind, tunnel.lower),
        (DeviceKind::Vxlan, Some(under.id))
    );
    assert_eq!(
        (tunnel.tunnel_port, tunnel.mtu, under.mtu),
        (Some(8472), 1450, 1500)
    );
    // Its other end is the other node's, which this agent knows nothing of.
    assert_eq!((under.kind, under.peer), (DeviceKind::Veth, None));
    assert!(resolved.devices.iter().all(|device| device.node == "n1"));
    let mut ids: Vec<_> = resolved.devices.iter().map(|device| device.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), resolved.devices.len());
    Ok(())
}

#[test]
fn a_paths_ends_follow_its_routes() -> Result<()> {
    let bed = Bed::up(Network::Both)?;
    ip(&["address", "add", OF_LO, "dev", "lo"])?;
    // Another card, whose network is the answers' way.
    ip(&[
        "link", "add", "eth1", "type", "veth", "peer", "name", "peer1",
    ])?;
    ip(&["address", "add", OF_CARD, "dev", "eth1"])?;
    ip(&["link", "set", "eth1", "up"])?;
    for (endpoint, local, peer, end) in [
        (
            "pod/lab/n1-a",
            "198.18.1.2",
            "198.18.2.2",
            "pod/lab/n1-a eth0",
        ),
        (
            "pod/lab/n1-b",
            "198.18.101.3",
            "198.18.102.3",
            "pod/lab/n1-b eth0",
        ),
        (
            "netns/nettoll-n1-b",
            "198.18.1.3",
            "198.18.1.2",
            "pod/lab/n1-b eth0",
        ),
        (
            "pod/lab/n1-a",
            "198.18.1.2",
            "198.18.1.2",
            "pod/lab/n1-a lo",
        ),
        ("node/n1", "198.18.0.1", "198.18.0.2", "node/n1 eth0"),
        ("node/n1", "198.18.0.1", "198.18.0.1", "node/n1 lo"),
        ("node/n1", "198.18.1.1", "198.18.1.2", "node/n1 cni0"),
        ("node/n1", "198.18.1.0", "198.18.2.2", "node/n1 flannel.1"),
        ("node/n1", "198.18.0.1", "198.18.2.2", "node/n1 flannel.1"),
        ("node/n1", "198.18.0.1", "198.18.1.2", "node/n1 cni0"),
        ("node/n1", "198.18.1.1", "198.18.2.2", "node/n1 flannel.1"),
        ("node/n1", OF_LO, "198.18.0.2", "node/n1 eth0"),
        ("node/n1", OF_LO, "198.18.2.2", "node/n1 flannel.1"),
        ("node/n1", OF_CARD, "198.18.0.2", "node/n1 eth0"),
    ] {
        let resolved = bed.resolve(endpoint, local, peer)?;
        assert_eq!(
            those(&resolved, |device| device.endpoint),
            [end],
            "{endpoint} to {peer}"
        );
        assert_eq!(those(&resolved, |device| device.underlay), ["node/n1 eth0"]);
        // A node's own address is on the nodes' network, whatever device has it; a tunnel is only
        // for what goes to pods.
        let arrival = match local {
            "198.18.0.1" | OF_LO if end.ends_with("flannel.1") => "node/n1 eth0",
            OF_CARD => "node/n1 eth1",
            _ => end,
        };
        assert_eq!(
            those(&resolved, |device| device.arrival),
            [arrival],
            "{endpoint} from {peer}"
        );
    }
    let mut alone = ask("node/n1", "198.18.0.1", "198.18.0.1")?;
    alone.peer_node_address = None;
    let resolved: Resolved = bed.agents[0].ask("POST", "/v1/resolve", &alone)?;
    assert!(those(&resolved, |device| device.underlay).is_empty());

    for (endpoint, local, status, says) in [
        (
            "pod/lab/n2-a",
            "198.18.2.2",
            404,
            "it has node/n1, pod/lab/n1-a, pod/lab/n1-b",
        ),
        ("netns/nettoll-n2-a", "198.18.2.2", 404, "it has node/n1"),
        (
            "pod/lab/n1-a",
            "198.18.2.2",
            409,
            "from its address 198.18.2.2",
        ),
    ] {
        let ask = ask(endpoint, local, "198.18.2.3")?;
        let (actual, body) = bed.agents[0].request("POST", "/v1/resolve", &ask)?;
        let ErrorBody { error } = serde_json::from_str(&body)?;
        assert_eq!(actual, status, "{error}");
        assert!(error.contains(says), "{error}");
    }
    Ok(())
}

#[test]
fn nodes_describe_themselves() -> Result<()> {
    let bed = Bed::up(Network::Vxlan)?;
    let mut boot_ids = Vec::new();
    for (agent, node) in bed.agents.iter().zip(&bed.lab.plan().nodes) {
        let AgentInfo {
            context, endpoints, ..
        } = agent.ask("GET", "/v1/info", &())?;
        assert_eq!(context.node, node.name);
        assert_eq!(context.cni.as_deref(), Some("flannel-like"));
        assert_eq!(endpoints.len(), 1 + node.pods.len());
        let here = |name: &str| {
            let place = format!("node/{}", node.name);
            let mut devices = context.devices.iter();
            devices
                .find(|device| device.place == place && device.name == name)
                .with_context(|| format!("no {name}"))
        };
        // Asked in the node's namespace: the machine's own eth0 is another device.
        let drivers = [("eth0", "veth"), ("cni0", "bridge"), ("flannel.1", "vxlan")];
        for (name, driver) in drivers {
            assert_eq!(here(name)?.driver.as_deref(), Some(driver));
            assert!(
                here(name)?
                    .offloads
                    .as_ref()
                    .is_some_and(|on| !on.is_empty())
            );
        }
        boot_ids.push(context.boot_id);
    }
    assert_eq!(boot_ids[0], boot_ids[1]);
    Ok(())
}
