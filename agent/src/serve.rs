//! The agent's life: configuration, API, metrics, signals.

use std::{path::Path, process::ExitCode};

use crate::config::{Config, ConfigError};

/// Why the agent ended before it was told to.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    /// A bad configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl ServeError {
    /// 2: wrong usage, missing privilege or prerequisite.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
        }
    }
}

/// Serves a controller until a signal ends the agent.
pub(crate) fn run(config: &Path) -> ExitCode {
    match serve(config) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn serve(path: &Path) -> Result<ExitCode, ServeError> {
    let config = Config::read(path)?;
    tracing::info!(node = config.node, "the agent begins");
    Ok(ExitCode::SUCCESS)
}
