//! One run of a plan: its places, its id and its port.

use std::{collections::BTreeMap, net::IpAddr};

use nettoll_core::{
    api::{Inventory, TRAFFIC_PORT_FIRST, TRAFFIC_PORT_LAST},
    endpoint::{Endpoint, Path},
    plan::{self, ServiceRoute},
    report::{Options, TestType},
};

use super::PlanError;

/// The longest id that agents take.
const MAX_ID: usize = 64;

/// A run, before anything is known of its devices.
#[derive(Clone, Debug)]
pub(in crate::jobs) struct PlannedRun {
    pub(in crate::jobs) id: String,
    pub(in crate::jobs) path: Path,
    pub(in crate::jobs) test: TestType,
    pub(in crate::jobs) options: Options,
    pub(in crate::jobs) client: Site,
    pub(in crate::jobs) server: Site,
    /// On a path to a service.
    pub(in crate::jobs) service: Option<ServiceRoute>,
    pub(in crate::jobs) port: u16,
}

/// One end of a run's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::jobs) struct Site {
    pub(in crate::jobs) endpoint: Endpoint,
    pub(in crate::jobs) pod_uid: Option<String>,
    pub(in crate::jobs) address: IpAddr,
    pub(in crate::jobs) node: String,
    pub(in crate::jobs) node_address: IpAddr,
}

impl PlannedRun {
    pub(super) fn new(
        inventory: &Inventory,
        path: Path,
        test: TestType,
        options: &Options,
        id: String,
        ports: &mut Ports,
    ) -> Result<Self, PlanError> {
        let network = path.network.as_deref();
        let route = plan::classify(&path.from, &path.to, network, test, inventory)?;
        let site = |place: plan::Place| {
            let node = inventory.nodes.iter().find(|node| node.name == place.node);
            Site {
                endpoint: place.endpoint,
                pod_uid: place.pod_uid,
                address: place.address,
                node_address: node.map_or(place.address, |node| node.address),
                node: place.node,
            }
        };
        let (client, server) = (site(route.client), site(route.server));
        let port = match route.service {
            Some(service) => service.target_port,
            None => ports.next(&server.node)?,
        };
        Ok(Self {
            id,
            path,
            test,
            options: options.clone(),
            client,
            server,
            service: route.service,
            port,
        })
    }

    /// Both ends are on one node.
    pub(in crate::jobs) fn one_node(&self) -> bool {
        self.client.node == self.server.node
    }

    /// Traffic of a round, warm-up included.
    pub(in crate::jobs) fn traffic_seconds(&self, round_seconds: f64) -> f64 {
        round_seconds + f64::from(self.options.warmup_ms) / 1e3
    }
}

/// The node of an endpoint, empty for an unknown one.
pub(in crate::jobs) fn node_of(inventory: &Inventory, endpoint: &Endpoint) -> String {
    plan::node_of(endpoint, inventory)
        .unwrap_or_default()
        .to_owned()
}

/// Hands out the ports of test traffic: the servers of interleaved runs listen at once.
#[derive(Default)]
pub(super) struct Ports(BTreeMap<String, u16>);

impl Ports {
    pub(super) fn next(&mut self, node: &str) -> Result<u16, PlanError> {
        let taken = self.0.entry(node.to_owned()).or_default();
        let port = TRAFFIC_PORT_FIRST + *taken;
        *taken += 1;
        if port > TRAFFIC_PORT_LAST {
            return Err(PlanError::Ports {
                node: node.to_owned(),
                runs: usize::from(*taken),
            });
        }
        Ok(port)
    }
}

/// Says what the run is, and is unique.
pub(super) fn run_id(path: &Path, test: TestType, number: u32, nonce: u32) -> String {
    let network = path
        .network
        .iter()
        .map(|network| format!("-{network}"))
        .collect::<String>();
    let tail = format!("-{test}-{number}-{nonce:08x}");
    let mut id: String = format!("{}{network}", path.kind)
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    id.truncate(MAX_ID - tail.len());
    id + &tail
}
