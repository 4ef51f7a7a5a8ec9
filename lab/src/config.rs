//! What the lab's agents and controller read.

use std::net::{IpAddr, SocketAddr};

use nettoll_core::api::METRICS_PORT;
use serde::Serialize;

use crate::{
    files,
    plan::{self, Node, Plan},
};

/// No configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be put in words.
    #[error("cannot write the configuration {name}: {source}")]
    Serialise {
        /// The file.
        name: String,
        /// Why.
        source: toml::ser::Error,
    },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] files::Error),
}

#[derive(Serialize)]
struct Agent {
    node: String,
    address: IpAddr,
    listen: SocketAddr,
    metrics_listen: SocketAddr,
    #[serde(flatten)]
    more: toml::Table,
    tls: Tls,
    endpoints: Vec<Endpoint>,
}

#[derive(Serialize)]
struct Endpoint {
    name: String,
    netns: String,
}

#[derive(Serialize)]
struct Controller {
    inventory: String,
    listen: String,
    metrics_listen: SocketAddr,
    tls: Tls,
}

#[derive(Serialize)]
struct Tls {
    ca: String,
    certificate: String,
    key: String,
}

impl Tls {
    fn of(name: &str) -> Self {
        Self {
            ca: in_directory("ca.pem"),
            certificate: in_directory(&format!("{name}.pem")),
            key: in_directory(&format!("{name}.key")),
        }
    }
}

/// Name of the configuration of a node's agent.
pub(crate) fn agent_file(node: &Node) -> String {
    format!("agent-{}.toml", node.name)
}

/// Name of the controller's configuration.
pub(crate) const CONTROLLER_FILE: &str = "controller.toml";
const INVENTORY_FILE: &str = "inventory.toml";

/// Writes the configurations of all agents, with `more` in each, the inventory, and the controller's configuration.
pub(crate) fn write(plan: &Plan, more: &toml::Table) -> Result<(), Error> {
    for node in &plan.nodes {
        write_file(&agent_file(node), &agent(node, more))?;
    }
    write_file(INVENTORY_FILE, &plan.inventory())?;
    write_file(CONTROLLER_FILE, &controller())
}

fn agent(node: &Node, more: &toml::Table) -> Agent {
    Agent {
        node: node.name.clone(),
        address: node.address().into(),
        listen: node.api(),
        metrics_listen: node.metrics(),
        more: more.clone(),
        tls: Tls::of("agent"),
        endpoints: node
            .pods
            .iter()
            .map(|pod| Endpoint {
                name: format!("pod/{}/{}", plan::POD_NAMESPACE, pod.name),
                netns: pod.netns(),
            })
            .collect(),
    }
}

fn controller() -> Controller {
    Controller {
        inventory: in_directory(INVENTORY_FILE),
        listen: format!("unix:{}", files::CONTROLLER_SOCKET),
        metrics_listen: (plan::controller_address(), METRICS_PORT).into(),
        tls: Tls::of("controller"),
    }
}

fn write_file(name: &str, content: &impl Serialize) -> Result<(), Error> {
    let text = toml::to_string(content).map_err(|source| Error::Serialise {
        name: name.to_owned(),
        source,
    })?;
    Ok(files::write(name, &text)?)
}

fn in_directory(name: &str) -> String {
    format!("{}/{name}", files::DIRECTORY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Network, Underlay};

    #[test]
    fn an_agents_configuration_reads_as_agreed() {
        let plan = Plan::new(2, Network::Both, Underlay::Veth).unwrap();
        let expected = r#"node = "n1"
address = "198.18.0.1"
listen = "198.18.254.1:9470"
metrics_listen = "198.18.254.1:9471"

[tls]
ca = "/run/nettoll/lab/ca.pem"
certificate = "/run/nettoll/lab/agent.pem"
key = "/run/nettoll/lab/agent.key"

[[endpoints]]
name = "pod/lab/n1-a"
netns = "nettoll-n1-a"

[[endpoints]]
name = "pod/lab/n1-b"
netns = "nettoll-n1-b"
"#;
        assert_eq!(
            toml::to_string(&agent(&plan.nodes[0], &toml::Table::new())).unwrap(),
            expected
        );
    }

    #[test]
    fn an_agents_configuration_can_have_more_keys() {
        let plan = Plan::new(2, Network::Both, Underlay::Veth).unwrap();
        let more = "probe_without = ['netif_rx']".parse().unwrap();
        let text = toml::to_string(&agent(&plan.nodes[0], &more)).unwrap();
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read["probe_without"][0].as_str(), Some("netif_rx"));
        assert_eq!(read["endpoints"][1]["netns"].as_str(), Some("nettoll-n1-b"));
    }

    #[test]
    fn the_inventory_is_read_back_as_it_was() {
        let inventory = Plan::new(3, Network::Both, Underlay::Veth)
            .unwrap()
            .inventory();
        let text = toml::to_string(&inventory).unwrap();
        assert_eq!(
            toml::from_str::<nettoll_core::api::Inventory>(&text).unwrap(),
            inventory
        );
    }
}
