//! The agent's configuration: a TOML file, validated once, here.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use nettoll_core::{
    api::{AGENT_PORT, METRICS_PORT},
    endpoint::Endpoint,
    kernel::Part,
};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::probe::{Settings, Tier};

/// Most endpoints of one agent: a few more than the 250 pods of the largest managed nodes. Each
/// takes three file descriptors while paths are resolved, of the usual 1024.
const MAX_ENDPOINTS: usize = 256;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration {}: {error}; name a readable file with --config, \
         deploy/samples/agent.toml shows all keys",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
    /// The file is no configuration.
    #[error("{}:{line}: {message}; deploy/samples/agent.toml shows all keys", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The file contradicts itself.
    #[error("{}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
}

/// What an agent is and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The node's name.
    pub(crate) node: String,
    /// Where the API listens.
    pub(crate) listen: SocketAddr,
    /// Where the metrics are.
    pub(crate) metrics_listen: SocketAddr,
    /// Keys and certificates of the API.
    pub(crate) tls: Tls,
    /// Traffic is followed through the kernel. Without, no eBPF program is loaded and less
    /// privilege is needed.
    pub(crate) probe: bool,
    /// How it is loaded.
    pub(crate) settings: Settings,
    /// The pods of this node: the names of their network namespaces under `/run/netns`. The
    /// node's own namespace is the agent's own and is not listed.
    pub(crate) endpoints: BTreeMap<Endpoint, String>,
}

/// Files in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// Who signs the controller's certificate.
    #[serde(default = "default_ca")]
    pub(crate) ca: PathBuf,
    /// The agent's certificate, with its chain.
    #[serde(default = "default_certificate")]
    pub(crate) certificate: PathBuf,
    /// The certificate's private key.
    #[serde(default = "default_key")]
    pub(crate) key: PathBuf,
}

fn default_ca() -> PathBuf {
    "/etc/nettoll/tls/ca.crt".into()
}

fn default_certificate() -> PathBuf {
    "/etc/nettoll/tls/tls.crt".into()
}

fn default_key() -> PathBuf {
    "/etc/nettoll/tls/tls.key".into()
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            ca: default_ca(),
            certificate: default_certificate(),
            key: default_key(),
        }
    }
}

/// Which node it is, where the file does not say so or is the same on all nodes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Identity {
    /// The node's name, instead of the configuration's 'node'.
    #[arg(long, value_name = "NAME", env = "NETTOLL_NODE")]
    node: Option<String>,
    /// The node's address, instead of the configuration's 'address'.
    #[arg(long, value_name = "IP", env = "NETTOLL_ADDRESS")]
    address: Option<IpAddr>,
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    node: Option<String>,
    address: Option<IpAddr>,
    listen: Option<SocketAddr>,
    metrics_listen: Option<SocketAddr>,
    #[serde(default)]
    tls: Tls,
    probe: Option<bool>,
    probe_tier: Option<Tier>,
    #[serde(default)]
    probe_without: Vec<Part>,
    #[serde(default)]
    endpoints: Vec<FileEndpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEndpoint {
    #[serde(deserialize_with = "pod")]
    name: Endpoint,
    #[serde(deserialize_with = "netns_name")]
    netns: String,
}

fn node_name(name: &str) -> Result<String, String> {
    match format!("node/{name}").parse() {
        Ok(Endpoint::Node(name)) => Ok(name),
        _ => Err(format!(
            "'{name}' is no node's name; use letters, digits, '-', '.' and '_'"
        )),
    }
}

fn pod<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
    match Endpoint::deserialize(deserializer)? {
        pod @ Endpoint::Pod { .. } => Ok(pod),
        other => Err(D::Error::custom(format!(
            "'{other}' is no pod; write pod/NAMESPACE/NAME (the node itself is not listed)"
        ))),
    }
}

fn netns_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    match format!("netns/{name}").parse() {
        Ok(Endpoint::Netns(name)) => Ok(name),
        _ => Err(D::Error::custom(format!(
            "'{name}' is no network namespace's name; write a name that 'ip netns' shows"
        ))),
    }
}

impl Config {
    /// Reads and validates a file.
    pub(crate) fn read(
        path: &Path,
        identity: Identity,
        settings: Settings,
    ) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(path, &text, identity, settings)
    }

    fn parse(
        path: &Path,
        text: &str,
        identity: Identity,
        settings: Settings,
    ) -> Result<Self, ConfigError> {
        let File {
            node,
            address,
            listen,
            metrics_listen,
            tls,
            probe,
            probe_tier,
            probe_without,
            endpoints,
        } = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            message: error.message().trim_end().replace('\n', "; "),
        })?;
        let invalid = |message| ConfigError::Invalid {
            path: path.to_owned(),
            message,
        };
        let absent = |what, option, variable| {
            invalid(format!(
                "it is not said which {what} this is; write it into the file, or give {option} or \
                 {variable}"
            ))
        };
        let node = identity
            .node
            .or(node)
            .ok_or_else(|| absent("node", "--node", "NETTOLL_NODE"))?;
        let node = node_name(&node).map_err(invalid)?;
        let address = identity
            .address
            .or(address)
            .ok_or_else(|| absent("node's address", "--address", "NETTOLL_ADDRESS"))?;
        if endpoints.len() > MAX_ENDPOINTS {
            return Err(invalid(format!(
                "{} endpoints are more than the {MAX_ENDPOINTS} that an agent takes; leave some out",
                endpoints.len()
            )));
        }
        let mut known = BTreeMap::new();
        for FileEndpoint { name, netns } in endpoints {
            if known.values().any(|other| *other == netns) {
                return Err(invalid(format!(
                    "two endpoints have the network namespace '{netns}'; give each its own"
                )));
            }
            if let Some(other) = known.insert(name.clone(), netns) {
                return Err(invalid(format!(
                    "the endpoint {name} is there twice (the other time in '{other}'); remove one"
                )));
            }
        }
        Ok(Self {
            node,
            listen: listen.unwrap_or(SocketAddr::new(address, AGENT_PORT)),
            metrics_listen: metrics_listen.unwrap_or(SocketAddr::new(address, METRICS_PORT)),
            tls,
            probe: probe.unwrap_or(true),
            settings: settings.or(Settings {
                tier: probe_tier,
                without: probe_without,
            }),
            endpoints: known,
        })
    }
}

/// The line of a byte, counted from 1.
fn line_of(text: &str, byte: usize) -> usize {
    text.bytes()
        .take(byte)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(
            Path::new("agent.toml"),
            text,
            Identity::default(),
            Settings::default(),
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn the_sample_is_a_configuration() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/samples/agent.toml");
        let config =
            Config::read(Path::new(sample), Identity::default(), Settings::default()).unwrap();
        assert_eq!(config.node, "n1");
        assert_eq!(config.listen, "198.18.254.1:9470".parse().unwrap());
        assert_eq!(
            config
                .endpoints
                .get(&"pod/lab/n1-a".parse::<Endpoint>().unwrap())
                .unwrap(),
            "nettoll-n1-a"
        );
    }

    #[test]
    fn only_node_and_address_are_needed() {
        let config = parse("node = 'n1'\naddress = '198.18.0.1'").unwrap();
        assert_eq!(config.listen, "198.18.0.1:9470".parse().unwrap());
        assert_eq!(config.metrics_listen, "198.18.0.1:9471".parse().unwrap());
        assert_eq!(config.tls, Tls::default());
        assert!(config.probe && config.endpoints.is_empty());
    }

    #[test]
    fn one_file_serves_all_nodes() {
        let identity = || Identity {
            node: Some("n2".to_owned()),
            address: "198.18.0.2".parse().ok(),
        };
        let parse = |text| {
            Config::parse(
                Path::new("agent.toml"),
                text,
                identity(),
                Settings::default(),
            )
        };
        for text in ["", "node = 'n1'\naddress = '198.18.0.1'"] {
            let config = parse(text).unwrap();
            assert_eq!(config.node, "n2");
            assert_eq!(config.listen, "198.18.0.2:9470".parse().unwrap());
        }
    }

    #[test]
    fn what_is_said_at_the_start_is_taken_instead_of_the_file() {
        let text = "node = 'n1'\naddress = '198.18.0.1'\nprobe_without = ['netif_rx']";
        let given = |without: &[&str]| {
            let without = without.iter().map(|name| name.parse().unwrap());
            let settings = Settings {
                without: without.collect(),
                ..Settings::default()
            };
            let config =
                Config::parse(Path::new("agent.toml"), text, Identity::default(), settings);
            config.unwrap().settings.without
        };
        let names =
            |parts: Vec<Part>| -> Vec<String> { parts.iter().map(ToString::to_string).collect() };
        assert_eq!(names(given(&[])), ["netif_rx"]);
        assert_eq!(names(given(&["sk_buff.len"])), ["sk_buff.len"]);
    }

    #[test]
    fn errors_are_one_line_and_say_where() {
        for (text, expected) in [
            (
                "node = 'n1'\naddress = '198.18.0.1'\nlisten_on = 1",
                "agent.toml:3: unknown field",
            ),
            (
                "node = 'n1'\naddress = 'here'",
                "agent.toml:2: invalid IP address",
            ),
            (
                "node = 'n1'",
                "agent.toml: it is not said which node's address this is",
            ),
            (
                "node = 'n/1'\naddress = '198.18.0.1'",
                "agent.toml: 'n/1' is no node's name",
            ),
            ("node = 'n1\n", "agent.toml:1: "),
            (
                "node = 'n1'\naddress = '198.18.0.1'\nprobe_without = ['vxlan_xmit']",
                "agent.toml:3: the probe has no hook and no member 'vxlan_xmit'; it has ",
            ),
            (
                "node = 'n1'\naddress = '198.18.0.1'\n[[endpoints]]\nname = 'n1-a'\nnetns = 'a'",
                "agent.toml:4: 'n1-a' is no endpoint",
            ),
            (
                "node = 'n1'\naddress = '198.18.0.1'\n[[endpoints]]\nname = 'pod/a/b'\nnetns = '../x'",
                "agent.toml:5: '../x' is no network namespace's name",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn endpoints_are_distinct() {
        let head = "node = 'n1'\naddress = '198.18.0.1'\n";
        let pod = |name, netns| format!("[[endpoints]]\nname = '{name}'\nnetns = '{netns}'\n");
        let same_name = format!("{head}{}{}", pod("pod/a/b", "x"), pod("pod/a/b", "y"));
        assert!(
            parse(&same_name)
                .unwrap_err()
                .contains("pod/a/b is there twice")
        );
        let same_netns = format!("{head}{}{}", pod("pod/a/b", "x"), pod("pod/a/c", "x"));
        assert!(
            parse(&same_netns)
                .unwrap_err()
                .contains("network namespace 'x'")
        );
    }
}
