//! The API for users' commands: HTTP/1.1 on a Unix socket or a loopback address, and the
//! scrape's few pages on another.
//!
//! | request | answer |
//! |---|---|
//! | `POST /api/v1/jobs` | a stream of `JobEvent`s, one JSON object a line; 400 for a job that makes no sense, 409 while a node of its has another one, 502 where the cluster does not say what a pod is |
//! | `GET /api/v1/inventory` | the nodes and pods |
//! | `GET /api/v1/nodes` | the nodes, each with what its agent says of itself |
//! | `GET /api/v1/pairs` | the edges of the always-on mesh; none where there is no mesh |
//! | `GET /api/v1/runs` | the last runs, the newest first |
//! | `GET /api/v1/runs/ID` | a report of one run, its baselines and its tolls |
//! | `GET /api/v1/stacks/ID` | its sampled stacks, folded |
//! | `GET /api/v1/metrics`, `GET /metrics` | what Prometheus reads |
//! | `GET /stacks?path=KIND&network=NAME&test=TEST&format=pprof\|folded` | what was sampled of all runs, by path |
//! | `GET /healthz`, `GET /readyz` | 200: nothing listens before all is read |

mod body;
mod listen;
mod lists;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, body::Incoming, header};
use nettoll_core::{
    api::{ErrorBody, Job, JobEvent, MAX_BODY_BYTES},
    exposition::Format,
    stacks::Query,
};
use serde::Serialize;
use tokio::{sync::mpsc::Receiver, time::timeout};

use self::body::Body;
pub(crate) use self::listen::{Limits, ListenError, Listener};
use crate::{
    directory::DirectoryError,
    jobs::{Archive, Jobs, SubmitError},
    mesh::Mesh,
    metrics::Metrics,
};

/// What users have besides a scrape's pages.
const PAGES: &str = "POST /api/v1/jobs, GET /api/v1/inventory, nodes, pairs, runs, runs/ID, stacks/ID and metrics, ";
/// How long a client has to send a job.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
const MANY_WAIT: &str = "others wait for stacks already; ask again later";

/// What users can ask.
pub(crate) struct Api {
    /// What can be measured, and was.
    pub(crate) jobs: Arc<Jobs>,
    /// The always-on mesh, where there is one.
    pub(crate) mesh: Option<Arc<Mesh>>,
}

/// Answers a user's request.
pub(crate) async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Response<Body> {
    let Api { jobs, mesh } = &*api;
    let (head, body) = request.into_parts();
    match (head.method, head.uri.path()) {
        (Method::POST, "/api/v1/jobs") => match submit(jobs, body).await {
            Ok(events) => respond(StatusCode::OK, "application/x-ndjson", Body::Events(events)),
            Err(refusal) => refusal,
        },
        (Method::GET, "/api/v1/nodes") => json(StatusCode::OK, &lists::nodes(&jobs.known()).await),
        (Method::GET, "/api/v1/pairs") => {
            let pairs = mesh.as_ref().map(|mesh| lists::pairs(mesh));
            json(StatusCode::OK, &pairs.unwrap_or_default())
        }
        (Method::GET, "/api/v1/runs") => json(StatusCode::OK, &jobs.archive().summaries()),
        (Method::GET, "/api/v1/inventory") => json(StatusCode::OK, &jobs.known().inventory),
        (Method::GET, "/api/v1/metrics") => scrape(jobs.metrics(), &head.headers),
        (method, path) => match kept(jobs.archive(), path) {
            Some(kept) if method == Method::GET => kept,
            _ => common(jobs.metrics(), &method, &head.uri, &head.headers, PAGES).await,
        },
    }
}

/// A run's report or stacks; `None` for any other page.
fn kept(archive: &Archive, path: &str) -> Option<Response<Body>> {
    let (found, kind, missing) = if let Some(id) = path.strip_prefix("/api/v1/runs/") {
        (
            archive.report(id),
            "application/json",
            "there is no such run",
        )
    } else {
        let id = path.strip_prefix("/api/v1/stacks/")?;
        let missing = "there is no such run, or it was not sampled";
        (archive.stacks(id), "text/plain; charset=utf-8", missing)
    };
    Some(match found {
        Some(bytes) => respond(StatusCode::OK, kind, whole(bytes)),
        None => refuse(
            StatusCode::NOT_FOUND,
            format!("{missing}, or no more: GET /api/v1/runs lists those that are kept"),
        ),
    })
}

/// Answers a scrape.
pub(crate) async fn answer_scrape(
    metrics: Arc<Metrics>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (method, uri) = (request.method(), request.uri());
    common(&metrics, method, uri, request.headers(), "GET ").await
}

/// Pages that both listeners have, besides others that begin with `pages`.
async fn common(
    metrics: &Metrics,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    pages: &str,
) -> Response<Body> {
    match (method, uri.path()) {
        (&Method::GET, "/metrics") => scrape(metrics, headers),
        (&Method::GET, "/stacks") => match uri.query().unwrap_or_default().parse::<Query>() {
            Ok(query) => match metrics.stacks(&query).await {
                Some(page) => {
                    let kind = query.format.content_type();
                    respond(StatusCode::OK, kind, whole(page.into()))
                }
                None => refuse(StatusCode::TOO_MANY_REQUESTS, MANY_WAIT.to_owned()),
            },
            Err(error) => refuse(StatusCode::BAD_REQUEST, error.to_string()),
        },
        (&Method::GET, "/healthz" | "/readyz") => {
            let ok = whole(Bytes::from_static(b"ok\n"));
            respond(StatusCode::OK, "text/plain; charset=utf-8", ok)
        }
        (_, path) => refuse(
            StatusCode::NOT_FOUND,
            format!(
                "there is no {method} {path}; there are {pages}/metrics, /stacks, /healthz and /readyz"
            ),
        ),
    }
}

/// The metrics in the format that the client takes best.
fn scrape(metrics: &Metrics, headers: &HeaderMap) -> Response<Body> {
    let accept = headers.get_all(header::ACCEPT).into_iter();
    let format = Format::negotiate(accept.filter_map(|value| value.to_str().ok()));
    let page = whole(metrics.page(format).into());
    respond(StatusCode::OK, format.content_type(), page)
}

async fn submit(jobs: &Arc<Jobs>, body: Incoming) -> Result<Receiver<JobEvent>, Response<Body>> {
    let refused = |error: String| {
        let what = format!("cannot read the job: {error}; it has {MAX_BODY_BYTES} bytes at most");
        refuse(StatusCode::BAD_REQUEST, what)
    };
    let body = Limited::new(body, MAX_BODY_BYTES).collect();
    let body = timeout(BODY_DEADLINE, body)
        .await
        .map_err(|_| refused(format!("it was not there within {BODY_DEADLINE:?}")))?
        .map_err(|error| refused(error.to_string()))?;
    let job: Job = serde_json::from_slice(&body.to_bytes()).map_err(|error| {
        let what = format!("this is no job: {error}; send {{\"toll\": …}} or {{\"test\": …}}");
        refuse(StatusCode::BAD_REQUEST, what)
    })?;
    Arc::clone(jobs).submit(job).await.map_err(|error| {
        let status = match error {
            SubmitError::Busy(_) | SubmitError::Moved(_) => StatusCode::CONFLICT,
            SubmitError::Plan(_) | SubmitError::Directory(DirectoryError::Unfit(_)) => {
                StatusCode::BAD_REQUEST
            }
            SubmitError::Directory(DirectoryError::Unknown(_)) => StatusCode::BAD_GATEWAY,
        };
        refuse(status, error.to_string())
    })
}

fn refuse(status: StatusCode, error: String) -> Response<Body> {
    json(status, &ErrorBody { error })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => respond(status, "application/json", whole(bytes.into())),
        Err(error) => {
            tracing::error!("cannot write an answer: {error}");
            respond(
                StatusCode::INTERNAL_SERVER_ERROR,
                "application/json",
                whole(Bytes::new()),
            )
        }
    }
}

fn whole(bytes: Bytes) -> Body {
    Body::Whole(Some(bytes))
}

fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests;
