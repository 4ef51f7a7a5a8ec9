//! What was made, written down so that another process can use it and take it down.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::{
    Error, Network, Underlay, files, netns,
    plan::Plan,
    process::{Identity, Process},
};

const FILE: &str = "state.json";

/// What was made. Written before the namespaces are, and again for each process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Number of nodes.
    pub nodes: u8,
    /// How pods of different nodes reach each other.
    pub network: Network,
    /// What joins the nodes.
    pub underlay: Underlay,
    /// There are services.
    pub services: bool,
    /// Names of the network namespaces.
    pub netns: Vec<String>,
    /// Agents and controller.
    pub processes: Vec<Process>,
}

impl State {
    pub(crate) fn new(nodes: u8, plan: &Plan) -> Self {
        Self {
            nodes,
            network: plan.network,
            underlay: plan.underlay,
            services: plan.has_services,
            netns: plan.netns(),
            processes: Vec::new(),
        }
    }

    /// The state of the lab that is up, `None` where none is.
    pub(crate) fn read() -> Result<Option<Self>, files::Error> {
        let path = files::path(FILE);
        let failed = |source| files::Error::new("read", &path, source);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| failed(error.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    pub(crate) fn write(&self) -> Result<(), files::Error> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| files::Error::new("write", files::path(FILE), error.into()))?;
        files::write(FILE, &text)
    }

    pub(crate) fn identities(&self) -> Vec<Identity> {
        self.processes
            .iter()
            .map(|process| process.identity)
            .collect()
    }

    /// The plan that it was made by.
    ///
    /// # Errors
    /// [`Error::Nodes`], where someone wrote into the file.
    pub fn plan(&self) -> Result<Plan, Error> {
        Ok(Plan {
            has_services: self.services,
            ..Plan::new(self.nodes, self.network, self.underlay)?
        })
    }
}

/// A lab as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// As it was made.
    #[serde(flatten)]
    pub state: State,
    /// Namespaces that have gone.
    pub missing_netns: Vec<String>,
    /// Names of processes that have gone.
    pub ended_processes: Vec<String>,
}

impl Status {
    /// Looks at what was made.
    #[must_use]
    pub fn of(state: State) -> Self {
        let missing_netns = state
            .netns
            .iter()
            .filter(|name| !netns::exists(name))
            .cloned()
            .collect();
        let ended_processes = state
            .processes
            .iter()
            .filter(|process| !process.identity.is_running())
            .map(|process| process.name.clone())
            .collect();
        Self {
            state,
            missing_netns,
            ended_processes,
        }
    }

    /// Whether everything that was made is still there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing_netns.is_empty() && self.ended_processes.is_empty()
    }
}
