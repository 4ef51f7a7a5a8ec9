//! Agents that stay while inventories come and go, so that their connections do too.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nettoll_core::api::{Inventory, InventoryNode};

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
            let agent = state.agent(node);
            (node.name.clone(), agent)
        });
        let agents: BTreeMap<_, _> = agents.collect();
        state.agents.clone_from(&agents);
        Agents(agents)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The known one, unless it has moved.
    fn agent(&self, node: &InventoryNode) -> Arc<Agent> {
        match self.agents.get(&node.name) {
            Some(known) if known.address == node.agent => Arc::clone(known),
            _ => Arc::new(Agent::new(
                node.name.clone(),
                node.agent,
                self.connector.clone(),
            )),
        }
    }
}
