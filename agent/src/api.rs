//! The API: what the controller asks for, by the table in [`nettoll_core::api`].
//!
//! A request is bounded before it is read, decoded strictly, and only then done on a
//! [privileged](crate::privilege) thread, which may block. When the controller closes the
//! connection in the middle of a round, the run ends.

mod body;
mod route;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hyper::{
    Request, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
};
use nettoll_core::{
    api::{AgentInfo, ErrorBody, RUN_IDLE_SECONDS, RunSpec},
    endpoint::Endpoint,
};
use serde::Serialize;

use self::route::{NoRoute, Route, after, is_run_id, route};
use crate::{
    context::{self, ContextError},
    http::{Answer, Limits, answer},
    light::{Light, LightError},
    path::{MAX_DEVICES, Node, PathError},
    privilege::Privileged,
    probe::Settings,
    runs::{RunError, Runs},
};

/// One controller and its spare connections. The idle time is longer than a run's, so that a
/// connection does not end before the run that it is for.
pub(crate) const LIMITS: Limits = Limits {
    connections: 32,
    head: Duration::from_secs(2 * RUN_IDLE_SECONDS),
    unread: Duration::from_secs(20),
};
/// The agent and its version, in each answer's header `server`: see [`nettoll_core::version`].
const SERVER: &str = concat!("nettoll-agent/", env!("CARGO_PKG_VERSION"));
/// Most nodes whose hops an agent counts: all that share one kernel.
const MAX_NODES: usize = 64;

/// What the agent serves from.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Its node.
    pub(crate) node: Arc<Node>,
    /// Its runs.
    pub(crate) runs: Arc<Runs>,
    /// Its light traffic.
    pub(crate) light: Light,
}

impl Agent {
    /// The agent of a node with these pods, by the names of their network namespaces. `settings` are
    /// those of the probe.
    pub(crate) fn new(
        node: String,
        endpoints: BTreeMap<Endpoint, String>,
        settings: Settings,
    ) -> Self {
        let runs = Arc::new(Runs::new(node.clone(), endpoints.clone(), settings));
        let node = Arc::new(Node::new(node, endpoints));
        Self {
            light: Light::new(Arc::clone(&node), Arc::clone(&runs)),
            node,
            runs,
        }
    }
}

/// Why a request was refused or failed.
#[derive(Debug, thiserror::Error)]
enum ApiError {
    #[error("there is nothing at {0}; GET /v1/info tells the agent's version")]
    NotFound(String),
    #[error("this takes {0} and nothing else")]
    Method(&'static str),
    #[error("a run's id has 1 to 64 of A-Z, a-z, 0-9, '_' and '-'")]
    RunId,
    #[error("the query is 'after=SEQUENCE', a number, or left out")]
    Query,
    #[error(transparent)]
    Body(#[from] body::BodyError),
    #[error("{what}: {count} are more than {most}; ask for less")]
    TooMany {
        what: &'static str,
        count: usize,
        most: usize,
    },
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Light(#[from] LightError),
    #[error("the agent failed while it did this; its log says more")]
    Lost,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        let code = match self {
            Self::NotFound(_) => 404,
            Self::Method(_) => 405,
            Self::RunId | Self::Query | Self::TooMany { .. } => 400,
            Self::Body(error) => error.status(),
            Self::Path(error) | Self::Context(ContextError::Devices(error)) => error.status(),
            Self::Run(error) => error.status(),
            Self::Light(error) => error.status(),
            Self::Context(_) | Self::Lost => 500,
        };
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Answers one request.
pub(crate) async fn handle(
    agent: Arc<Agent>,
    privileged: Privileged,
    request: Request<Incoming>,
) -> Answer {
    let what = format!("{} {}", request.method(), request.uri().path());
    let mut answer = match respond(agent, &privileged, request).await {
        Ok(body) => {
            tracing::debug!("{what}: done");
            answer(StatusCode::OK, "application/json", body)
        }
        Err(error) => {
            tracing::warn!("{what}: {error}");
            let body = ErrorBody {
                error: error.to_string(),
            };
            // A text always encodes.
            let body = serde_json::to_vec(&body).unwrap_or_default();
            let mut answer = answer(error.status(), "application/json", body);
            if let ApiError::Method(allowed) = error {
                let allowed = HeaderValue::from_static(allowed);
                answer.headers_mut().insert(header::ALLOW, allowed);
            }
            answer
        }
    };
    let server = HeaderValue::from_static(SERVER);
    answer.headers_mut().insert(header::SERVER, server);
    answer
}

async fn respond(
    agent: Arc<Agent>,
    privileged: &Privileged,
    request: Request<Incoming>,
) -> Result<Vec<u8>, ApiError> {
    let path = request.uri().path();
    let route = route(request.method(), path).map_err(|no| match no {
        NoRoute::Path => ApiError::NotFound(path.to_owned()),
        NoRoute::Method(allowed) => ApiError::Method(allowed),
        NoRoute::RunId => ApiError::RunId,
    })?;
    let query = request.uri().query().map(str::to_owned);
    let bytes = body::read(request.into_body()).await?;
    let body = bytes.as_ref();
    match route {
        Route::Info => {
            body::nothing(body)?;
            block(privileged, move || info(&agent)).await
        }
        Route::Resolve => {
            let ask = body::decode(body)?;
            block(privileged, move || {
                let mut resolved = agent.node.resolve(&ask)?;
                resolved.settings = agent.node.settings(&ask)?;
                Ok::<_, ApiError>(resolved)
            })
            .await
        }
        Route::PutLight => {
            let plan = body::decode(body)?;
            block(privileged, move || agent.light.put(plan)).await
        }
        Route::Light => {
            body::nothing(body)?;
            let after = after(query.as_deref()).ok_or(ApiError::Query)?;
            block(privileged, move || {
                Ok::<_, ApiError>(agent.light.results(after))
            })
            .await
        }
        Route::Prepare => {
            let spec = body::decode(body)?;
            check(&spec)?;
            block(privileged, move || agent.runs.prepare(spec)).await
        }
        Route::Flow(id) => {
            let flow = body::decode(body)?;
            block(privileged, move || agent.runs.flow(&id, flow)).await
        }
        Route::Start(id) => {
            let at_server = body::decode(body)?;
            block(privileged, move || agent.runs.start(&id, at_server)).await
        }
        Route::Begin(id) => {
            let round = body::decode(body)?;
            block(privileged, move || agent.runs.begin(&id, round)).await
        }
        Route::Run(id) => {
            let round = body::decode(body)?;
            let mut abandoned = Abandoned::new(&agent, privileged, &id);
            let side = block(privileged, move || agent.runs.run(&id, round)).await;
            abandoned.answered();
            side
        }
        Route::End(id) => {
            body::nothing(body)?;
            block(privileged, move || agent.runs.end(&id)).await
        }
        Route::Finish(id) => {
            body::nothing(body)?;
            block(privileged, move || agent.runs.finish(&id)).await
        }
        Route::Delete(id) => {
            body::nothing(body)?;
            block(privileged, move || agent.runs.delete(&id)).await
        }
        Route::DeleteAll => {
            body::nothing(body)?;
            block(privileged, move || {
                agent.runs.delete_all();
                Ok::<_, ApiError>(())
            })
            .await
        }
    }
}

/// Does what may block or needs privilege on a thread for it, and encodes what it gave.
async fn block<T, E>(
    privileged: &Privileged,
    f: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<Vec<u8>, ApiError>
where
    T: Serialize + Send + 'static,
    E: Into<ApiError> + Send + 'static,
{
    let done = privileged.run(move || {
        let value = f().map_err(Into::into)?;
        serde_json::to_vec(&value).map_err(|error| {
            tracing::error!("an answer cannot be encoded: {error}");
            ApiError::Lost
        })
    });
    done.await.ok_or(ApiError::Lost)?
}

fn info(agent: &Agent) -> Result<AgentInfo, ApiError> {
    Ok(AgentInfo {
        context: context::node(&agent.node)?,
        endpoints: agent.node.endpoints(),
        probe_unavailable: agent.runs.probe_unavailable(),
        profile_unavailable: agent.runs.profile_unavailable(),
    })
}

/// Checks what the types of a run's parts do not.
fn check(spec: &RunSpec) -> Result<(), ApiError> {
    if !is_run_id(&spec.id) {
        return Err(ApiError::RunId);
    }
    for (what, count, most) in [
        ("devices", spec.devices.len(), MAX_DEVICES),
        ("count_nodes", spec.count_nodes.len(), MAX_NODES),
    ] {
        if count > most {
            return Err(ApiError::TooMany { what, count, most });
        }
    }
    Ok(())
}

/// Deletes a run when its round's request is dropped before the answer: the controller is gone.
struct Abandoned {
    run: Option<(Arc<Agent>, String)>,
    privileged: Privileged,
}

impl Abandoned {
    fn new(agent: &Arc<Agent>, privileged: &Privileged, id: &str) -> Self {
        Self {
            run: Some((agent.clone(), id.to_owned())),
            privileged: privileged.clone(),
        }
    }

    fn answered(&mut self) {
        self.run = None;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some((agent, id)) = self.run.take() {
            tracing::warn!("the controller left run {id} in the middle of a round; it ends");
            self.privileged.order(move || {
                // Somebody else may have deleted it since.
                let _ = agent.runs.delete(&id);
            });
        }
    }
}
