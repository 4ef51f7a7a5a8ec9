//! What a lab shall be like.

use std::{
    fmt,
    path::PathBuf,
    str::FromStr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::plan::PodNetwork;

/// What a lab shall be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes, 2 to 9.
    pub nodes: u8,
    /// How pods of different nodes reach each other.
    pub network: Network,
    /// What joins the nodes.
    pub underlay: Underlay,
    /// Services, by rules that have nodes track all connections; they take `nft`.
    pub services: bool,
    /// Further keys of each agent's configuration.
    pub agents: toml::Table,
    /// The programs to start; `None` for a bed without processes.
    pub processes: Option<Binaries>,
    /// How long to wait for another process that builds or takes down a lab, or for another
    /// [`Lab`](crate::Lab) that is held.
    pub lock_wait: Duration,
    /// Set by the caller to end [`Lab::up`](crate::Lab::up) early.
    pub stop: Arc<AtomicBool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 2,
            network: Network::Both,
            underlay: Underlay::Veth,
            services: true,
            agents: toml::Table::new(),
            processes: None,
            lock_wait: Duration::from_secs(10),
            stop: Arc::default(),
        }
    }
}

/// How pods of different nodes reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Encapsulated, as flannel's vxlan backend does it.
    Vxlan,
    /// Routed, as flannel's host-gw backend does it.
    HostGw,
    /// Both at once over the same devices: each pod has an address in each network.
    Both,
}

impl Network {
    /// The networks between pods.
    #[must_use]
    pub fn pod_networks(self) -> &'static [PodNetwork] {
        match self {
            Self::Vxlan => &[PodNetwork::Vxlan],
            Self::HostGw => &[PodNetwork::HostGw],
            Self::Both => &[PodNetwork::Vxlan, PodNetwork::HostGw],
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Vxlan => "vxlan",
            Self::HostGw => "host-gw",
            Self::Both => "both",
        })
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "vxlan" => Ok(Self::Vxlan),
            "host-gw" => Ok(Self::HostGw),
            "both" => Ok(Self::Both),
            _ => Err(format!(
                "there is no network '{text}'; write vxlan, host-gw or both"
            )),
        }
    }
}

/// What joins the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Underlay {
    /// Two nodes: a veth pair, one end in each. More: a bridge in a namespace of its own.
    Veth,
    /// Each node's `eth0` is a persistent TAP device. It has no carrier until the caller opens
    /// it (see [`crate::netns::within`]) and moves the frames.
    Tap,
}

/// The programs that run in the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// `nettoll-agent`.
    pub agent: PathBuf,
    /// `nettoll-controller`.
    pub controller: PathBuf,
}
