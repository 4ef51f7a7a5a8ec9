//! The agent's metrics, over plain HTTP: counts without addresses or names of pods.

mod collector;
mod totals;

use std::{sync::Arc, time::Duration};

use hyper::{Method, Request, StatusCode, body::Incoming};
use prometheus_client::{encoding::text, registry::Registry};

use self::collector::AgentCollector;
pub(crate) use self::totals::Totals;
use crate::{
    api::Agent,
    doctor::hooks::Hook,
    http::{Answer, Limits, answer},
    privilege::Privileged,
};

/// A few scrapers and probes.
pub(crate) const LIMITS: Limits = Limits {
    connections: 16,
    head: Duration::from_secs(10),
};

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that the agent tells. `hooks`: as they were tried when the agent began.
pub(crate) fn registry(agent: Arc<Agent>, hooks: Vec<Hook>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(AgentCollector { agent, hooks }));
    registry
}

/// Answers one request. `waits_for`: what the agent cannot do its work without, if anything.
pub(crate) async fn handle(
    registry: Arc<Registry>,
    privileged: Privileged,
    waits_for: Option<String>,
    request: Request<Incoming>,
) -> Answer {
    if request.method() != Method::GET {
        return answer(
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "this takes GET and nothing else\n",
        );
    }
    match request.uri().path() {
        "/metrics" => match privileged.run(move || scrape(&registry)).await {
            Some(Some(page)) => answer(StatusCode::OK, OPEN_METRICS, page),
            _ => answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                TEXT,
                "the scrape failed\n",
            ),
        },
        // Told by a process that listens on both of its addresses.
        "/healthz" => answer(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" => match waits_for {
            None => answer(StatusCode::OK, TEXT, "ok\n"),
            Some(what) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, what + "\n"),
        },
        _ => answer(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /metrics, /healthz and /readyz\n",
        ),
    }
}

fn scrape(registry: &Registry) -> Option<String> {
    let mut page = String::new();
    text::encode(&mut page, registry).ok()?;
    Some(page)
}
