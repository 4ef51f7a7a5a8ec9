//! Agents that stay while inventories come and go, so that their connections do too.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nettoll_core::api::Inventory;

use super::{Agent, Agents, Connector};

/// All agents that were ever asked for and are still where they were.
pub(crate) struct Fleet(Mutex<State>);

struct State {
    connector: Connector,
    agents: BTreeMap<String, Arc<Agent>>,
}

impl Fleet {
    /// Connects to none yet.
    pub(crate) fn new(connector: Connector) -> Self {
        Self(Mutex::new(State {
            connector,
            agents: BTreeMap::new(),
        }))
    }

    /// New connections are made with other certificates; what runs keeps its own.
    pub(crate) fn trust(&self, connector: Connector) {
        let mut state = self.state();
        state.connector = connector;
        state.agents.clear();
    }

    /// The agents of these nodes; all others are forgotten.
    pub(crate) fn of(&self, inventory: &Inventory) -> Agents {
        let mut state = self.state();
        let agents = inventory.nodes.iter().map(|node| {
            let agent = state.agent(&node.name, node.agent);
            (node.name.clone(), agent)
        });
        let agents: BTreeMap<_, _> = agents.collect();
        state.agents.clone_from(&agents);
        Agents(agents)
    }

    /// The agent of a node at this address; the others stay.
    pub(crate) fn at(&self, node: &str, address: SocketAddr) -> Arc<Agent> {
        let mut state = self.state();
        let agent = state.agent(node, address);
        state.agents.insert(node.to_owned(), Arc::clone(&agent));
        agent
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The known one, unless it has moved.
    fn agent(&self, node: &str, address: SocketAddr) -> Arc<Agent> {
        match self.agents.get(node) {
            Some(known) if known.address == address => Arc::clone(known),
            _ => Arc::new(Agent::new(node.to_owned(), address, self.connector.clone())),
        }
    }
}
