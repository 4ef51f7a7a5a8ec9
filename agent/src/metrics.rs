//! The agent's metrics, over plain HTTP: counts without addresses or names of pods.

pub mod fullest;
mod page;
mod totals;

use std::{sync::Arc, time::Duration};

use hyper::{Method, Request, StatusCode, body::Incoming, header::ACCEPT};
use nettoll_core::{exposition::Format, stacks::Query};

pub(crate) use self::{page::Source, totals::Totals};
use crate::{
    http::{Answer, Limits, answer},
    privilege::Privileged,
};

/// A few scrapers and probes.
pub(crate) const LIMITS: Limits = Limits {
    connections: 16,
    head: Duration::from_secs(10),
};

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers one request. `waits_for`: what the agent cannot do its work without, if anything.
pub(crate) async fn handle(
    source: Arc<Source>,
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
        "/metrics" => {
            let accept = request.headers().get_all(ACCEPT).into_iter();
            let format = Format::negotiate(accept.filter_map(|value| value.to_str().ok()));
            match privileged.run(move || source.page(format)).await {
                Some(page) => answer(StatusCode::OK, format.content_type(), page),
                None => answer(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    TEXT,
                    "the scrape failed\n",
                ),
            }
        }
        "/stacks" => match request.uri().query().unwrap_or_default().parse::<Query>() {
            Ok(query) => {
                let page = stacks(&source, &query).await;
                answer(StatusCode::OK, query.format.content_type(), page)
            }
            Err(error) => answer(StatusCode::BAD_REQUEST, TEXT, format!("{error}\n")),
        },
        // Told by a process that listens on both of its addresses.
        "/healthz" => answer(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" => match waits_for {
            None => answer(StatusCode::OK, TEXT, ready(source.without)),
            Some(what) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, what + "\n"),
        },
        _ => answer(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /metrics, /stacks, /healthz and /readyz\n",
        ),
    }
}

/// What was sampled, since the agent began or while a query waits.
async fn stacks(source: &Source, query: &Query) -> Vec<u8> {
    let runs = &source.agent.runs;
    let Some(seconds) = query.seconds else {
        return runs.stacks().page(query, None);
    };
    let earlier = runs.stacks();
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    runs.stacks().page(query, Some(&earlier))
}

/// What a ready agent says.
fn ready(without_probe: Option<&str>) -> String {
    without_probe.map_or_else(
        || "ok\n".to_owned(),
        |why| format!("ok, without the probe: {why}\n"),
    )
}
