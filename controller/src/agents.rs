//! The agents: what the controller asks them, by the table of [`nettoll_core::api`].
//!
//! Every request has a deadline and every answer a bound, so that no agent can hold up a job.
//! Errors name the agent and say what to do.

mod connection;
mod fleet;
mod tls;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::Method;
use nettoll_core::{
    api::{
        AgentInfo, ErrorBody, FlowTuple, LASTING, LightPlan, LightResults, Prepared,
        ResolveRequest, Resolved, RoundSide, RoundSpec, RunSide, RunSpec,
    },
    report::Options,
};
use serde::{Serialize, de::DeserializeOwned};

use self::connection::{Connection, Question};
pub(crate) use self::{
    fleet::Fleet,
    tls::{Connector, TlsError},
};

/// For requests that an agent answers from what it has at hand.
const QUICK: Duration = Duration::from_secs(10);
/// What traffic may take beyond its own time: waking up, a last answer that never comes.
const MARGIN: Duration = Duration::from_secs(10);
/// Reading the maps and symbolising the stacks of a run.
const FINISH: Duration = Duration::from_secs(60);
/// Most bytes of an answer but that to `finish`.
const LIMIT: usize = 4 << 20;
/// Most bytes of the answer to `finish`: stacks with their symbols.
const FINISH_LIMIT: usize = 64 << 20;

/// A request to an agent that gave no result.
#[derive(Clone, Debug, thiserror::Error)]
#[error("agent of node {node} at {address}: {fault}")]
pub(crate) struct AgentError {
    /// Whose agent.
    pub(crate) node: String,
    /// Where it should be.
    pub(crate) address: SocketAddr,
    /// What happened.
    pub(crate) fault: Fault,
}

impl AgentError {
    /// The agent would say the same again, in the words of its API.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self.fault, Fault::Refused { status, .. } if status == LASTING)
    }
}

/// What can go wrong between controller and agent.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// No connection.
    #[error("cannot connect: {0}; see whether nettoll-agent runs there and the inventory is right")]
    Unreachable(String),
    /// No trust.
    #[error(
        "TLS failed: {0}; both certificates must be of the same CA, the agent's for \
         agent.nettoll and the controller's for controller.nettoll"
    )]
    Tls(String),
    /// The connection broke.
    #[error("lost the connection: {0}; see the agent's log")]
    Lost(String),
    /// No answer in time.
    #[error("no answer in {0:?}; see the agent's log and the node's load")]
    Deadline(Duration),
    /// What it means is not known.
    #[error(
        "it is {0}, which nettoll-controller/{version} does not understand; bring both to one version",
        version = env!("CARGO_PKG_VERSION")
    )]
    Version(String),
    /// The answer has no end.
    #[error("its answer is longer than {0} bytes; is something else listening there?")]
    TooLarge(usize),
    /// The answer makes no sense.
    #[error("cannot read its answer: {0}; see the agent's log")]
    Answer(String),
    /// The agent says no.
    #[error("{error} (status {status})")]
    Refused {
        /// Of HTTP.
        status: u16,
        /// In the agent's words.
        error: String,
    },
}

/// The agents of an inventory, by node.
pub(crate) struct Agents(BTreeMap<String, Arc<Agent>>);

impl Agents {
    /// The agent of a node.
    pub(crate) fn of(&self, node: &str) -> Option<&Arc<Agent>> {
        self.0.get(node)
    }
}

/// One agent.
pub(crate) struct Agent {
    node: String,
    address: SocketAddr,
    connection: Connection,
}

impl Agent {
    fn new(node: String, address: SocketAddr, connector: Connector) -> Self {
        Self {
            node,
            address,
            connection: Connection::new(address, connector),
        }
    }

    /// The agent's node.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// How it describes itself.
    pub(crate) async fn info(&self) -> Result<AgentInfo, AgentError> {
        self.ask(Method::GET, "/v1/info", &(), QUICK, LIMIT).await
    }

    /// The devices of its node, and what they are to a path.
    pub(crate) async fn resolve(&self, request: &ResolveRequest) -> Result<Resolved, AgentError> {
        self.ask(Method::POST, "/v1/resolve", request, QUICK, LIMIT)
            .await
    }

    /// Opens the run's sockets.
    pub(crate) async fn prepare(&self, spec: &RunSpec) -> Result<Prepared, AgentError> {
        self.ask(Method::POST, "/v1/runs", spec, QUICK, LIMIT).await
    }

    /// Tells the server's side what the flow is at the client: what it is at the server.
    pub(crate) async fn flow(&self, run: &str, flow: &FlowTuple) -> Result<FlowTuple, AgentError> {
        self.of_run(run, "flow", flow, QUICK).await
    }

    /// Connects the client, whose flow is this at a server of another agent.
    pub(crate) async fn start(&self, run: &str, flow: Option<FlowTuple>) -> Result<(), AgentError> {
        self.of_run(run, "start", &flow, QUICK).await
    }

    /// A round's first mark.
    pub(crate) async fn begin(&self, run: &str, round: &RoundSpec) -> Result<(), AgentError> {
        self.of_run(run, "begin", round, QUICK).await
    }

    /// A round's traffic.
    pub(crate) async fn run(
        &self,
        run: &str,
        round: &RoundSpec,
        options: &Options,
    ) -> Result<RoundSide, AgentError> {
        let traffic = Duration::try_from_secs_f64(round.seconds).unwrap_or(MARGIN)
            + Duration::from_millis(options.warmup_ms.into());
        self.of_run(run, "run", round, traffic + MARGIN).await
    }

    /// A round's last mark.
    pub(crate) async fn end(&self, run: &str) -> Result<RoundSide, AgentError> {
        self.of_run(run, "end", &(), QUICK).await
    }

    /// What this side measured over all rounds.
    pub(crate) async fn finish(&self, run: &str) -> Result<RunSide, AgentError> {
        let path = format!("/v1/runs/{run}/finish");
        self.ask(Method::POST, &path, &(), FINISH, FINISH_LIMIT)
            .await
    }

    /// Ends a run, whatever state it is in.
    pub(crate) async fn delete(&self, run: &str) -> Result<(), AgentError> {
        self.ask(
            Method::DELETE,
            &format!("/v1/runs/{run}"),
            &(),
            QUICK,
            LIMIT,
        )
        .await
    }

    /// Ends all runs: those of a controller that ended without a word.
    pub(crate) async fn delete_all(&self) -> Result<(), AgentError> {
        self.ask(Method::DELETE, "/v1/runs", &(), QUICK, LIMIT)
            .await
    }

    /// Puts a plan of light rounds in the place of the last one.
    pub(crate) async fn put_light(&self, plan: &LightPlan) -> Result<(), AgentError> {
        self.ask(Method::PUT, "/v1/light", plan, QUICK, LIMIT).await
    }

    /// What came of light rounds after this sequence.
    pub(crate) async fn light(&self, after: u64) -> Result<LightResults, AgentError> {
        let path = format!("/v1/light?after={after}");
        self.ask(Method::GET, &path, &(), QUICK, LIMIT).await
    }

    async fn of_run<T: DeserializeOwned>(
        &self,
        run: &str,
        verb: &str,
        body: &impl Serialize,
        deadline: Duration,
    ) -> Result<T, AgentError> {
        self.ask(
            Method::POST,
            &format!("/v1/runs/{run}/{verb}"),
            body,
            deadline,
            LIMIT,
        )
        .await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        deadline: Duration,
        limit: usize,
    ) -> Result<T, AgentError> {
        let error = |fault| AgentError {
            node: self.node.clone(),
            address: self.address,
            fault,
        };
        let body = if method == Method::POST || method == Method::PUT {
            serde_json::to_vec(body)
                .map_err(|e| error(Fault::Answer(e.to_string())))?
                .into()
        } else {
            Bytes::new()
        };
        let question = Question {
            method,
            path,
            body,
            deadline,
            limit,
        };
        let (status, body) = self.connection.ask(question).await.map_err(error)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|e| error(Fault::Answer(e.to_string())));
        }
        let told = serde_json::from_slice(&body).map_or_else(
            |_| format!("{path} was refused without a reason"),
            |ErrorBody { error }| error,
        );
        Err(error(Fault::Refused {
            status: status.as_u16(),
            error: told,
        }))
    }
}

#[cfg(test)]
pub(crate) mod tests;
