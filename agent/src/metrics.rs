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
    unread: Duration::from_secs(20),
};

/// Requests for stacks that are answered at a time.
pub(crate) const MAX_WAITING: usize = 2;
const MANY_WAIT: &str = "others wait for stacks already; ask again later\n";

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
            Ok(query) => match stacks(&source, &query).await {
                Some(page) => answer(StatusCode::OK, query.format.content_type(), page),
                None => answer(StatusCode::TOO_MANY_REQUESTS, TEXT, MANY_WAIT),
            },
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

/// What was sampled, since the agent began or while a query waits; `None` where enough others
/// ask: connections and time must be left for scrapes and the kubelet.
async fn stacks(source: &Source, query: &Query) -> Option<Vec<u8>> {
    let _place = source.waiting.try_acquire().ok()?;
    let runs = &source.agent.runs;
    let mut earlier = None;
    if let Some(seconds) = query.seconds {
        earlier = Some(runs.stacks());
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    }
    let (now, query) = (runs.stacks(), query.clone());
    // Compressing takes a while, and the runtime's threads have others to serve.
    let page = move || now.page(&query, earlier.as_deref());
    tokio::task::spawn_blocking(page).await.ok()
}

/// What a ready agent says.
fn ready(without_probe: Option<&str>) -> String {
    without_probe.map_or_else(
        || "ok\n".to_owned(),
        |why| format!("ok, without the probe: {why}\n"),
    )
}
