//! Endpoints and paths: the places between which a run's traffic goes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::url::HttpUrl;

/// A place where a test's socket lives, written as users write it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `node/NAME`: the node's own network namespace.
    Node(String),
    /// `pod/NAMESPACE/NAME`: a pod's network namespace.
    Pod {
        /// The Kubernetes namespace.
        namespace: String,
        /// The pod's name.
        name: String,
    },
    /// `service/NAMESPACE/NAME[:PORT]`.
    Service {
        /// The Kubernetes namespace.
        namespace: String,
        /// The service's name.
        name: String,
        /// The service's port, where it is not the test's own.
        port: Option<u16>,
    },
    /// `service/NAMESPACE/NAME[:PORT]@NODE`: a service by its port on a node.
    NodePort {
        /// The service.
        service: Box<Endpoint>,
        /// The node.
        node: String,
    },
    /// `netns/NAME`: a network namespace by its name under `/run/netns`.
    Netns(String),
    /// `url/https://…`.
    Url(String),
}

/// A text that is no endpoint.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "'{0}' is no endpoint; write node/NAME, pod/NAMESPACE/NAME, service/NAMESPACE/NAME[:PORT][@NODE], netns/NAME or url/https://…"
)]
pub struct EndpointError(String);

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || EndpointError(text.to_owned());
        let (kind, rest) = text.split_once('/').ok_or_else(bad)?;
        if kind == "url" {
            return match rest.parse::<HttpUrl>() {
                Ok(_) => Ok(Self::Url(rest.to_owned())),
                Err(_) => Err(bad()),
            };
        }
        // The names of Kubernetes objects and of network namespaces, at most 253 characters:
        // they end up in file names and labels.
        let named = |name: &str| {
            let fits = !name.is_empty()
                && name.len() <= 253
                && !name.starts_with('.')
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
            if fits {
                Ok(name.to_owned())
            } else {
                Err(bad())
            }
        };
        match (kind, rest.split_once('/')) {
            ("node", None) => Ok(Self::Node(named(rest)?)),
            ("netns", None) => Ok(Self::Netns(named(rest)?)),
            ("pod", Some((namespace, name))) => Ok(Self::Pod {
                namespace: named(namespace)?,
                name: named(name)?,
            }),
            ("service", Some((namespace, name))) => {
                if let Some((service, node)) = rest.split_once('@') {
                    let service = format!("service/{service}").parse();
                    return Ok(Self::NodePort {
                        service: Box::new(service.map_err(|_| bad())?),
                        node: named(node)?,
                    });
                }
                let (name, port) = match name.split_once(':') {
                    Some((name, port)) => (name, Some(port.parse().map_err(|_| bad())?)),
                    None => (name, None),
                };
                Ok(Self::Service {
                    namespace: named(namespace)?,
                    name: named(name)?,
                    port,
                })
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "node/{name}"),
            Self::Pod { namespace, name } => write!(f, "pod/{namespace}/{name}"),
            Self::Service {
                namespace,
                name,
                port: None,
            } => write!(f, "service/{namespace}/{name}"),
            Self::Service {
                namespace,
                name,
                port: Some(port),
            } => {
                write!(f, "service/{namespace}/{name}:{port}")
            }
            Self::NodePort { service, node } => write!(f, "{service}@{node}"),
            Self::Netns(name) => write!(f, "netns/{name}"),
            Self::Url(url) => write!(f, "url/{url}"),
        }
    }
}

impl Endpoint {
    /// The service that it is or leads to, and the node by whose port.
    #[must_use]
    pub fn service(&self) -> Option<(&Self, Option<&str>)> {
        match self {
            Self::Service { .. } => Some((self, None)),
            Self::NodePort { service, node } => Some((service, Some(node))),
            _ => None,
        }
    }

    /// The Kubernetes namespace and the name of a pod or a service.
    #[must_use]
    pub fn object(&self) -> Option<(&str, &str)> {
        match self {
            Self::Pod { namespace, name }
            | Self::Service {
                namespace, name, ..
            } => Some((namespace, name)),
            Self::NodePort { service, .. } => service.object(),
            Self::Node(_) | Self::Netns(_) | Self::Url(_) => None,
        }
    }

    /// The Kubernetes namespace of a pod or a service.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.object().map(|(namespace, _)| namespace)
    }
}

impl Serialize for Endpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What kind of path lies between two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathKind {
    /// Two processes in one network namespace.
    Loopback,
    /// From node to node, on the nodes' own network.
    HostToHost,
    /// Two pods of one node.
    PodToPodSameNode,
    /// Two pods of different nodes.
    PodToPod,
    /// A node to a pod of another node.
    HostToPod,
    /// A pod to another node.
    PodToHost,
    /// A pod to a service's address.
    PodToService,
    /// A node to a service's address.
    HostToService,
    /// A pod to the address of a service whose backend it is.
    Hairpin,
    /// To a service through a node's port.
    NodePort,
    /// Any URL.
    External,
}

impl PathKind {
    /// The kinds that exist.
    pub const ALL: [Self; 11] = [
        Self::Loopback,
        Self::HostToHost,
        Self::PodToPodSameNode,
        Self::PodToPod,
        Self::HostToPod,
        Self::PodToHost,
        Self::PodToService,
        Self::HostToService,
        Self::Hairpin,
        Self::NodePort,
        Self::External,
    ];

    /// The word of the design, as in labels and file names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::HostToHost => "host-to-host",
            Self::PodToPodSameNode => "pod-to-pod-same-node",
            Self::PodToPod => "pod-to-pod",
            Self::HostToPod => "host-to-pod",
            Self::PodToHost => "pod-to-host",
            Self::PodToService => "pod-to-service",
            Self::HostToService => "host-to-service",
            Self::Hairpin => "hairpin",
            Self::NodePort => "node-port",
            Self::External => "external",
        }
    }
}

impl FromStr for PathKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("there is no kind of path '{text}'; the kinds are {names}")
        })
    }
}

impl fmt::Display for PathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// From-endpoint → to-endpoint, with its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Path {
    /// What lies between the endpoints.
    pub kind: PathKind,
    /// Where the client's socket lives.
    pub from: Endpoint,
    /// Where the server's socket lives.
    pub to: Endpoint,
    /// The pod network between nodes (`vxlan`, `host-gw`), where the path uses one.
    pub network: Option<String>,
}

impl Path {
    /// `pod-to-pod (vxlan)`, or the kind alone where no pod network is involved.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.network {
            Some(network) => format!("{} ({network})", self.kind),
            None => self.kind.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_read_as_they_are_written() {
        for text in [
            "node/n1",
            "pod/lab/n1-a",
            "service/lab/echo",
            "service/lab/echo:80",
            "service/lab/echo@n2",
            "service/lab/echo:80@n2",
            "netns/nettoll-n1-a",
            "url/https://example.org/x",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "n1",
            "node/",
            "node/a/b",
            "pod/a",
            "pod//a",
            "netns/../etc",
            "netns/..",
            "service/a/b:x",
            "service/a/b@",
            "service/a/b@n:1",
            "service/a@n",
            "service/a/b@n@m",
            "url/ftp://x",
            "url/http://",
            "pod/a/b c",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
