//! The controller's configuration: a TOML file, every key with a default, unknown keys errors.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use nettoll_core::{
    annotation::Policy,
    api::{CONTROLLER_PORT, METRICS_PORT},
    mesh::{self, SettingsError},
};
use serde::Deserialize;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}; name a readable file with --config", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no configuration.
    #[error("{0}; docs/controller.md and deploy/samples/controller.toml show all keys")]
    Syntax(Syntax),
    /// The mesh cannot be as it says.
    #[error("{} is no configuration of the controller: {source}", path.display())]
    Mesh {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: SettingsError,
    },
}

/// What is wrong in a TOML file, and where, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {message}", path.display())]
pub(crate) struct Syntax {
    path: PathBuf,
    /// Counted from 1.
    line: usize,
    message: String,
}

impl Syntax {
    /// What the parser says of a file with this text.
    pub(crate) fn of(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start));
        Self {
            path: path.to_owned(),
            line: before.map_or(0, |before| before.matches('\n').count()) + 1,
            message: error.message().trim_end().replace('\n', "; "),
        }
    }
}

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The file that lists nodes and pods.
    pub(crate) inventory: PathBuf,
    /// Where the API listens.
    pub(crate) listen: Listen,
    /// Where `/metrics` is served.
    pub(crate) metrics_listen: SocketAddr,
    /// The keys of the connections to the agents. In Kubernetes they come from Secrets.
    pub(crate) tls: Tls,
    /// What only matters in Kubernetes.
    pub(crate) kubernetes: Kubernetes,
    /// What annotations may ask for, in Kubernetes.
    pub(crate) on_demand: OnDemand,
    /// The always-on mesh, in Kubernetes.
    pub(crate) mesh: mesh::Settings,
}

/// What only matters in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Kubernetes {
    /// The pod network's name in paths and metrics.
    pub(crate) network: String,
}

/// What annotations may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OnDemand {
    /// Nodes that may be tested to, by name; `*` for all.
    pub(crate) allow_nodes: Vec<String>,
    /// URLs that may be tested to.
    pub(crate) allow_urls: Vec<String>,
    /// Most seconds of one test.
    pub(crate) max_seconds: u32,
    /// Most tests of a namespace in an hour.
    pub(crate) tests_per_hour: u32,
    /// Most seconds of tests of a namespace in an hour.
    pub(crate) seconds_per_hour: u32,
}

impl OnDemand {
    /// As decisions are made by it.
    pub(crate) fn policy(&self) -> Policy {
        let Self {
            allow_nodes,
            allow_urls,
            max_seconds,
            tests_per_hour,
            seconds_per_hour,
        } = self.clone();
        Policy {
            allow_nodes,
            allow_urls,
            max_seconds,
            tests_per_hour,
            seconds_per_hour,
        }
    }
}

/// The PEM files of mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// Who signs the agents' certificates.
    pub(crate) ca: PathBuf,
    /// The controller's own certificate, with its chain.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

/// Where the API listens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Listen {
    /// A Unix socket, readable by its owner alone.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(format!(
                    "'{text}' names no absolute path; write unix:/run/…"
                ))
            };
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|_| format!("'{text}' is neither unix:PATH nor ADDRESS:PORT"))?;
        if address.ip().is_loopback() {
            Ok(Self::Tcp(address))
        } else {
            Err(format!(
                "'{text}' is no loopback address; the API has no authentication of its own, so \
                 let it listen on unix:PATH or 127.0.0.1:{CONTROLLER_PORT}"
            ))
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            inventory: "/etc/nettoll/inventory.toml".into(),
            listen: Listen::Tcp((Ipv4Addr::LOCALHOST, CONTROLLER_PORT).into()),
            metrics_listen: (Ipv4Addr::LOCALHOST, METRICS_PORT).into(),
            tls: Tls::default(),
            kubernetes: Kubernetes::default(),
            on_demand: OnDemand::default(),
            mesh: mesh::Settings::default(),
        }
    }
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            network: "pods".to_owned(),
        }
    }
}

impl Default for OnDemand {
    fn default() -> Self {
        let Policy {
            allow_nodes,
            allow_urls,
            max_seconds,
            tests_per_hour,
            seconds_per_hour,
        } = Policy::default();
        Self {
            allow_nodes,
            allow_urls,
            max_seconds,
            tests_per_hour,
            seconds_per_hour,
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            ca: "/etc/nettoll/tls/ca.crt".into(),
            certificate: "/etc/nettoll/tls/tls.crt".into(),
            key: "/etc/nettoll/tls/tls.key".into(),
        }
    }
}

impl Config {
    /// Reads a configuration file.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Syntax(Syntax::of(path, &text, &error)))?;
        config.mesh.check().map_err(|source| ConfigError::Mesh {
            path: path.to_owned(),
            source,
        })?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_the_default_but_for_the_metrics_address() {
        let sample = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../deploy/samples/controller.toml"
        );
        let config = Config::read(Path::new(sample)).unwrap();
        let metrics_listen = (Ipv4Addr::UNSPECIFIED, METRICS_PORT).into();
        assert_eq!(
            config,
            Config {
                metrics_listen,
                ..Config::default()
            }
        );
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("controller.toml");
        let told = |text: &str| {
            fs::write(&path, text).unwrap();
            let told = Config::read(&path).unwrap_err().to_string();
            assert_eq!(told.lines().count(), 1, "{told}");
            told.replace(&path.display().to_string(), "FILE")
        };
        let unknown = told("\ninventroy = '/x'");
        assert!(
            unknown.starts_with("FILE:2: unknown field `inventroy`"),
            "{unknown}"
        );
        assert!(unknown.contains("inventory"), "{unknown}");
        let mesh = told("[mesh]\nneighbours = 'x'");
        assert!(mesh.starts_with("FILE:2: invalid type"), "{mesh}");
        assert!(told("x").starts_with("FILE:1: "));
        assert!(told("[mesh]\nneighbours = 33").contains("from 1 to 32"));
    }

    #[test]
    fn the_api_listens_on_a_socket_or_on_loopback_only() {
        let listen = |text: &str| Listen::try_from(text.to_owned());
        assert_eq!(
            listen("unix:/run/x.sock"),
            Ok(Listen::Unix("/run/x.sock".into()))
        );
        assert!(listen("[::1]:9472").is_ok());
        for refused in [
            "unix:x.sock",
            "198.18.0.1:9472",
            "0.0.0.0:9472",
            "localhost",
        ] {
            assert!(listen(refused).is_err(), "{refused}");
        }
    }
}
