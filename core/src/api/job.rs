//! Jobs: what a user asks the controller for, and what it answers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Stacks;
use crate::{
    endpoint::Endpoint,
    report::{Options, Report, TestType},
};

/// What a user asks the controller for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Job {
    /// The tolls of all path kinds between the first two nodes.
    Toll(TollJob),
    /// One test on one path.
    Test(TestJob),
}

impl Job {
    /// The endpoints that it names, each once.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let named: BTreeSet<_> = match self {
            Self::Toll(_) => BTreeSet::new(),
            Self::Test(test) => {
                let against = test.against.iter().flat_map(|(from, to)| [from, to]);
                [&test.from, &test.to].into_iter().chain(against).collect()
            }
        };
        named.into_iter()
    }
}

/// Which tolls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TollJob {
    /// The client's node; `null` for the inventory's first, of which the server's is none.
    pub from_node: Option<String>,
    /// The server's node; `null` for the inventory's first that is not the client's.
    pub to_node: Option<String>,
    /// The pod networks of `path_cost`, the first being that of all other tests too.
    pub path_cost_networks: Vec<String>,
    /// The pod networks of all other tests.
    pub networks: Vec<String>,
    /// The tests.
    pub tests: Vec<TestType>,
    /// Measured time of one run over all its rounds.
    pub seconds: f64,
    /// Pairs of rounds, at least 10.
    pub pairs: u32,
    /// Samples per second and CPU.
    pub sample_hz: u32,
}

/// Which test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestJob {
    /// Where the client's socket lives.
    pub from: Endpoint,
    /// Where the server's socket lives.
    pub to: Endpoint,
    /// The pod network; `null` for the inventory's first.
    pub network: Option<String>,
    /// The type of traffic.
    pub test: TestType,
    /// How.
    pub options: Options,
    /// Another path to interleave and compare with: the path's own baseline is always there,
    /// this one comes besides (a path with itself is an A/A run).
    pub against: Option<(Endpoint, Endpoint)>,
    /// Which states of the probe the rounds have.
    pub probe: ProbeMode,
}

/// Which rounds a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeMode {
    /// Rounds with and without the probe, interleaved.
    Both,
    /// As [`Self::Both`], with the programs of the client's agent alone: what one agent costs
    /// where both are on one kernel.
    Client,
    /// Only rounds with it.
    On,
    /// Only rounds without it.
    Off,
}

/// One line of the controller's answer to a [`Job`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobEvent {
    /// The job begins.
    Planned {
        /// Rounds in all.
        rounds: u32,
        /// Expected time.
        seconds: f64,
    },
    /// Rounds were done.
    Progress {
        /// So far.
        done: u32,
        /// In all.
        rounds: u32,
        /// What runs now, in words.
        label: String,
        /// Expected time until the end.
        seconds_left: f64,
    },
    /// Something that the user should know; the job goes on.
    Warning {
        /// In words.
        message: String,
    },
    /// The job is done.
    Done(Box<JobResult>),
    /// The job failed.
    Failed {
        /// Why, and what to do.
        message: String,
        /// It would fail again: something has to be set right first.
        #[serde(default)]
        lasting: bool,
    },
}

/// What a job gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// The report.
    pub report: Report,
    /// The stacks of each run that was sampled, by run id.
    pub stacks: BTreeMap<String, Stacks>,
}
