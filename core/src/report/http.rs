//! What answered the requests of `http_rr`.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

/// What answered, over all rounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Where the last connection went; `null` before there was one.
    pub address: Option<SocketAddr>,
    /// The version of TLS, as `TLSv1_3`; `null` without TLS.
    pub tls: Option<String>,
    /// Why the last request without an answer has none; `null` where all were answered.
    pub failure: Option<String>,
}

impl Http {
    /// The most frequent status that is an error.
    #[must_use]
    pub fn error_status(&self) -> Option<u16> {
        let errors = self.statuses.iter().filter(|&(&status, _)| status >= 400);
        errors
            .max_by_key(|&(_, count)| count)
            .map(|(&status, _)| status)
    }
}
