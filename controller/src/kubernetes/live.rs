//! The cluster as the watches tell it, and the agents in it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nettoll_core::{
    api::InventoryService,
    inventory::{Cluster, Event, PodFacts},
    mesh::{Plan, Settings},
};

use crate::{
    agents::{Agent, Connector, Fleet},
    directory::Known,
    mesh::Ground,
};

/// The cluster and its agents.
pub(crate) struct Live {
    cluster: Mutex<Cluster>,
    fleet: Fleet,
}

impl Live {
    /// Nothing is known yet.
    pub(crate) fn new(network: &str, connector: Connector) -> Self {
        Self {
            cluster: Mutex::new(Cluster::new(network)),
            fleet: Fleet::new(connector),
        }
    }

    /// Takes in what a watch told.
    pub(crate) fn apply(&self, event: Event) {
        self.cluster().apply(event);
    }

    /// To look something up; not to be held for long.
    pub(crate) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other certificates from now on.
    pub(crate) fn trust(&self, connector: Connector) {
        self.fleet.trust(connector);
    }

    /// As of now, with further pods and services.
    pub(crate) fn with(&self, pods: &[&PodFacts], services: &[InventoryService]) -> Arc<Known> {
        let inventory = self.cluster().with(pods, services);
        let agents = Arc::new(self.fleet.of(&inventory));
        Arc::new(Known { inventory, agents })
    }
}

impl Ground for Live {
    fn generation(&self) -> u64 {
        self.cluster().generation()
    }

    fn plan(&self, settings: &Settings) -> Plan {
        // Planning takes long, and events do not wait for it.
        let (network, members) = {
            let cluster = self.cluster();
            let members = cluster.members().cloned().collect();
            (cluster.network().to_owned(), members)
        };
        Plan::of(network, members, settings)
    }

    fn agent(&self, node: &str, address: SocketAddr) -> Arc<Agent> {
        self.fleet.at(node, address)
    }

    fn retire(&self, node: &str) {
        self.cluster().retire(node);
    }
}
