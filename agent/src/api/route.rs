//! What a request's method and path ask for.

use hyper::Method;

/// Most characters of a run's id.
const MAX_RUN_ID: usize = 64;

/// One line of the table in [`nettoll_core::api`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Info,
    Resolve,
    PutLight,
    Light,
    Prepare,
    Flow(String),
    Start(String),
    Begin(String),
    Run(String),
    End(String),
    Finish(String),
    Delete(String),
    DeleteAll,
}

/// Why a request asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoute {
    /// 404.
    Path,
    /// 405; the method that the path takes.
    Method(&'static str),
    /// 400.
    RunId,
}

/// Finds the route.
pub(super) fn route(method: &Method, path: &str) -> Result<Route, NoRoute> {
    let parts: Vec<&str> = path.split('/').collect();
    if parts == ["", "v1", "light"] {
        return match method.as_str() {
            "GET" => Ok(Route::Light),
            "PUT" => Ok(Route::PutLight),
            _ => Err(NoRoute::Method("GET, PUT")),
        };
    }
    if parts == ["", "v1", "runs"] {
        return match method.as_str() {
            "POST" => Ok(Route::Prepare),
            "DELETE" => Ok(Route::DeleteAll),
            _ => Err(NoRoute::Method("POST, DELETE")),
        };
    }
    let (allowed, make): (&'static str, fn(String) -> Route) = match parts.as_slice() {
        ["", "v1", "info"] => ("GET", |_| Route::Info),
        ["", "v1", "resolve"] => ("POST", |_| Route::Resolve),
        ["", "v1", "runs", _] => ("DELETE", Route::Delete),
        ["", "v1", "runs", _, "flow"] => ("POST", Route::Flow),
        ["", "v1", "runs", _, "start"] => ("POST", Route::Start),
        ["", "v1", "runs", _, "begin"] => ("POST", Route::Begin),
        ["", "v1", "runs", _, "run"] => ("POST", Route::Run),
        ["", "v1", "runs", _, "end"] => ("POST", Route::End),
        ["", "v1", "runs", _, "finish"] => ("POST", Route::Finish),
        _ => return Err(NoRoute::Path),
    };
    if method.as_str() != allowed {
        return Err(NoRoute::Method(allowed));
    }
    match parts.get(3) {
        Some(id) if !is_run_id(id) => Err(NoRoute::RunId),
        id => Ok(make(id.copied().unwrap_or_default().to_owned())),
    }
}

/// The sequence in the query of [`Route::Light`]; 0 without one.
pub(super) fn after(query: Option<&str>) -> Option<u64> {
    match query {
        None => Some(0),
        Some(query) => query.strip_prefix("after=")?.parse().ok(),
    }
}

/// Whether a text is a run's id: at most 64 of `[A-Za-z0-9_-]`.
pub(super) fn is_run_id(text: &str) -> bool {
    (1..=MAX_RUN_ID).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_table_is_found() {
        let id = || "r-1_A".to_owned();
        for (method, path, expected) in [
            (Method::GET, "/v1/info", Route::Info),
            (Method::POST, "/v1/resolve", Route::Resolve),
            (Method::PUT, "/v1/light", Route::PutLight),
            (Method::GET, "/v1/light", Route::Light),
            (Method::POST, "/v1/runs", Route::Prepare),
            (Method::POST, "/v1/runs/r-1_A/flow", Route::Flow(id())),
            (Method::POST, "/v1/runs/r-1_A/start", Route::Start(id())),
            (Method::POST, "/v1/runs/r-1_A/begin", Route::Begin(id())),
            (Method::POST, "/v1/runs/r-1_A/run", Route::Run(id())),
            (Method::POST, "/v1/runs/r-1_A/end", Route::End(id())),
            (Method::POST, "/v1/runs/r-1_A/finish", Route::Finish(id())),
            (Method::DELETE, "/v1/runs/r-1_A", Route::Delete(id())),
            (Method::DELETE, "/v1/runs", Route::DeleteAll),
        ] {
            assert_eq!(route(&method, path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn a_query_has_a_sequence_or_is_none() {
        assert_eq!(after(None), Some(0));
        assert_eq!(after(Some("after=18446744073709551615")), Some(u64::MAX));
        for query in [
            "",
            "after=",
            "after=-1",
            "after=1&x=2",
            "x=1",
            "after=99999999999999999999",
        ] {
            assert_eq!(after(Some(query)), None, "{query}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for path in [
            "",
            "/",
            "/v1",
            "/v2/info",
            "/v1/info/",
            "/v1/light/a",
            "/v1/runs/a/x",
            "/v1/runs/a/run/b",
        ] {
            assert_eq!(route(&Method::POST, path), Err(NoRoute::Path), "{path}");
        }
        assert_eq!(
            route(&Method::GET, "/v1/resolve"),
            Err(NoRoute::Method("POST"))
        );
        assert_eq!(
            route(&Method::POST, "/v1/runs/a"),
            Err(NoRoute::Method("DELETE"))
        );
        assert_eq!(
            route(&Method::POST, "/v1/light"),
            Err(NoRoute::Method("GET, PUT"))
        );
        let long = format!("/v1/runs/{}", "a".repeat(65));
        for path in [
            "/v1/runs/",
            "/v1/runs/a%2f",
            "/v1/runs/a.b",
            "/v1/runs/ä",
            &long,
        ] {
            assert_eq!(route(&Method::DELETE, path), Err(NoRoute::RunId), "{path}");
        }
    }
}
