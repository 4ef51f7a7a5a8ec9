//! What is asked for behind the `?` of `GET /stacks`.

use std::str::FromStr;

use super::Of;
use crate::{endpoint::PathKind, report::TestType};

/// Which stacks, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    path: Option<PathKind>,
    network: Option<String>,
    test: Option<TestType>,
    /// The form of the answer.
    pub format: Format,
    /// Wait so many seconds and answer what came meanwhile; `None` for all since the beginning.
    pub seconds: Option<u16>,
}

/// The longest that a query waits.
const MAX_SECONDS: u16 = 120;

/// The form of stacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// [`crate::pprof`].
    #[default]
    Pprof,
    /// A line for each stack, for flame graph tools.
    Folded,
}

impl Format {
    /// What the header `Content-Type` says.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Pprof => "application/octet-stream",
            Self::Folded => "text/plain; charset=utf-8",
        }
    }
}

/// A query that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No such key.
    #[error(
        "there is no '{0}'; ask by path=KIND, network=NAME, test=TEST, seconds=N and \
             format=pprof|folded"
    )]
    Key(String),
    /// No such kind of path, or no such test.
    #[error("{0}")]
    Value(String),
    /// Not a time that can be waited for.
    #[error("'{0}' is no time to wait: give seconds from 1 to {MAX_SECONDS}")]
    Seconds(String),
    /// No such format.
    #[error("there is no format '{0}'; the formats are pprof and folded")]
    Format(String),
}

impl FromStr for Query {
    type Err = QueryError;

    /// `path=pod-to-pod&format=folded`; empty for all of them. Values have no need of `%`.
    fn from_str(text: &str) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key {
                "path" => query.path = Some(value.parse().map_err(QueryError::Value)?),
                "network" => query.network = Some(value.to_owned()),
                "test" => query.test = Some(value.parse().map_err(QueryError::Value)?),
                "seconds" => {
                    let seconds = value.parse().ok();
                    let seconds = seconds.filter(|seconds| (1..=MAX_SECONDS).contains(seconds));
                    let wrong = || QueryError::Seconds(value.to_owned());
                    query.seconds = Some(seconds.ok_or_else(wrong)?);
                }
                "format" => {
                    query.format = match value {
                        "pprof" => Format::Pprof,
                        "folded" => Format::Folded,
                        _ => return Err(QueryError::Format(value.to_owned())),
                    }
                }
                _ => return Err(QueryError::Key(key.to_owned())),
            }
        }
        Ok(query)
    }
}

impl Query {
    pub(super) fn chooses(&self, of: &Of) -> bool {
        self.path.is_none_or(|path| path == of.path)
            && self.test.is_none_or(|test| test == of.test)
            && (self.network.is_none() || self.network == of.network)
    }
}
