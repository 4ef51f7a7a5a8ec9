//! The connection to the API server, and what its errors say.

use std::{error::Error as _, time::Duration};

use kube::{
    Client, Config,
    config::{InferConfigError, KubeconfigError},
};
use nettoll_core::reason;

/// How long the API server has for an answer that is no watch.
const REQUEST: Duration = Duration::from_secs(10);

/// Why a request to the API server gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Neither a pod's service account nor a kubeconfig.
    #[error(
        "no way to an API server: {0}; run in a pod with a service account's token, or set KUBECONFIG"
    )]
    Config(String),
    /// The API server says no.
    #[error("cannot {what}: {told} (status {code}){}", hint(*code))]
    Refused {
        /// What was tried.
        what: String,
        /// Its words.
        told: String,
        /// Of HTTP.
        code: u16,
    },
    /// It cannot be reached.
    #[error("cannot {what}: {told}; is the API server up?")]
    Failed {
        /// What was tried.
        what: String,
        /// What happened.
        told: String,
    },
}

fn hint(code: u16) -> &'static str {
    match code {
        401 | 403 => "; see the RBAC of the service account nettoll-controller",
        _ => "",
    }
}

impl ApiError {
    /// An error of a request that tried to do this.
    pub(crate) fn of(what: impl Into<String>, error: &kube::Error) -> Self {
        let what = what.into();
        match error {
            kube::Error::Api(status) => Self::Refused {
                what,
                told: status.message.clone(),
                code: status.code,
            },
            other => Self::Failed {
                what,
                told: reason(other),
            },
        }
    }

    /// The HTTP status, where there is one.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Config(_) | Self::Failed { .. } => None,
        }
    }
}

/// By a kubeconfig where there is one, else as the pod's service account. Nothing is asked yet.
pub(crate) async fn connect() -> Result<Client, ApiError> {
    let config = Config::infer()
        .await
        .map_err(|error| ApiError::Config(unconfigured(&error)))?;
    Client::try_from(config).map_err(|error| ApiError::of("make a client", &error))
}

fn unconfigured(error: &InferConfigError) -> String {
    let cause = error.source();
    match cause.and_then(|cause| cause.downcast_ref::<KubeconfigError>()) {
        // The parser quotes what it could not read, and that may be a key.
        Some(KubeconfigError::Parse(_)) => "the kubeconfig is no valid YAML".to_owned(),
        _ => reason(error),
    }
}

/// Asks, and gives up after a while.
pub(crate) async fn ask<T>(
    what: impl Into<String>,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    ask_within(REQUEST, what, request).await
}

/// Asks, and gives up after this time.
pub(crate) async fn ask_within<T>(
    deadline: Duration,
    what: impl Into<String>,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    let what = what.into();
    match tokio::time::timeout(deadline, request).await {
        Ok(answer) => answer.map_err(|error| ApiError::of(what, &error)),
        Err(_) => Err(ApiError::Failed {
            what,
            told: format!("no answer in {deadline:?}"),
        }),
    }
}
