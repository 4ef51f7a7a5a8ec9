//! Bodies of requests: bounded in size and time, strict JSON.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use nettoll_core::api::MAX_BODY_BYTES;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// For a whole body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a body cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the request's body is larger than {MAX_BODY_BYTES} bytes; ask for less")]
    TooLarge,
    #[error("the request's body did not arrive within {} s", BODY_TIMEOUT.as_secs())]
    Slow,
    #[error("the request's body broke off: {0}")]
    Broken(String),
    #[error(
        "the request's body is not what this takes: {0}; do agent and controller have the same version?"
    )]
    Json(#[from] serde_json::Error),
}

impl BodyError {
    /// The HTTP status that fits.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::TooLarge => 413,
            Self::Slow => 408,
            Self::Broken(_) | Self::Json(_) => 400,
        }
    }
}

/// Reads a whole body.
pub(super) async fn read(body: Incoming) -> Result<Bytes, BodyError> {
    // What announces its size is refused before a byte of it is read.
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(BodyError::TooLarge);
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Err(_) => Err(BodyError::Slow),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(error)) => Err(BodyError::Broken(error.to_string())),
    }
}

/// Decodes a body.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    Ok(serde_json::from_slice(body)?)
}

/// Accepts `null` and an empty body.
pub(super) fn nothing(body: &[u8]) -> Result<(), BodyError> {
    if body.is_empty() {
        Ok(())
    } else {
        decode(body)
    }
}
