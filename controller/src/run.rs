//! The process: reads what it needs, listens, and ends cleanly.

use std::{io, path::Path, process::ExitCode, sync::Arc, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    agents::{Connector, Fleet, TlsError},
    api::{self, ListenError, Listener},
    config::{Config, ConfigError},
    directory::Known,
    inventory::{self, InventoryError},
    jobs::Jobs,
    metrics::Metrics,
};

/// How long a cancelled job has to clean up on the agents before the process ends.
const CLEAN_UP_DEADLINE: Duration = Duration::from_secs(15);

/// Why the controller does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`InventoryError`].
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// See [`TlsError`].
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// See [`ListenError`].
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The operating system refuses threads or signals.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl RunError {
    /// 2 where something has to be set right first.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Inventory(_) | Self::Tls(_) | Self::Listen(_) => 2.into(),
            Self::System(_) => ExitCode::FAILURE,
        }
    }
}

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(config: &Path) -> Result<(), RunError> {
    let config = Config::read(config)?;
    let inventory = inventory::read(&config.inventory)?;
    let agents = Arc::new(Fleet::new(Connector::new(&config.tls)?).of(&inventory));
    let known = Arc::new(Known { inventory, agents });
    let jobs = Arc::new(Jobs::new(known, Metrics::new()));
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(config, jobs))
}

async fn serve(config: Config, jobs: Arc<Jobs>) -> Result<(), RunError> {
    let users = Listener::bind(&config.listen).await?;
    let scrapes = Listener::tcp(config.metrics_listen).await?;
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tracing::info!(
        listen = ?config.listen, metrics = %config.metrics_listen,
        nodes = jobs.known().inventory.nodes.len(), "serving"
    );
    let (for_users, for_scrapes) = (Arc::clone(&jobs), Arc::clone(&jobs));
    tokio::select! {
        () = users.serve(move |request| api::answer(Arc::clone(&for_users), request)) => {}
        () = scrapes.serve(move |request| {
            std::future::ready(api::answer_scrape(for_scrapes.metrics(), &request))
        }) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending");
    if tokio::time::timeout(CLEAN_UP_DEADLINE, jobs.shut_down())
        .await
        .is_err()
    {
        tracing::warn!(
            "the job did not end in {CLEAN_UP_DEADLINE:?}; agents end its runs themselves"
        );
    }
    Ok(())
}
