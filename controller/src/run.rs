//! The process: reads what it needs, listens, and ends cleanly.

use std::{io, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    agents::{Connector, Fleet, TlsError},
    api::{self, Api, Limits, ListenError, Listener},
    config::{Config, ConfigError},
    directory::Known,
    inventory::{self, InventoryError},
    jobs::Jobs,
    kubernetes::{self, KubernetesError, Place},
    metrics::Metrics,
};

/// How long a cancelled job has to clean up on the agents before the process ends.
const CLEAN_UP_DEADLINE: Duration = Duration::from_secs(15);

/// What `nettoll-controller run` is told.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The configuration (TOML); may be left out with --kubernetes
    #[arg(long, value_name = "FILE", required_unless_present = "kubernetes")]
    config: Option<PathBuf>,
    /// Take nodes, pods and certificates from the cluster, and answer annotations
    #[arg(long)]
    kubernetes: bool,
    /// The namespace of nettoll itself
    #[arg(
        long,
        env = "NETTOLL_NAMESPACE",
        value_name = "NAME",
        default_value = "nettoll"
    )]
    namespace: String,
    /// This instance's name among the controllers [default: the host's name and the process]
    #[arg(long, env = "NETTOLL_POD", value_name = "NAME")]
    pod: Option<String>,
}

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
    /// See [`KubernetesError`].
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// The operating system refuses threads or signals.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl RunError {
    /// 2 where something has to be set right first.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Inventory(_) | Self::Tls(_) | Self::Listen(_) => 2.into(),
            Self::Kubernetes(error) => error.exit_code(),
            Self::System(_) => ExitCode::FAILURE,
        }
    }
}

/// Serves until SIGTERM or SIGINT. What goes wrong is logged, and is 2 where something has to be
/// set right first, else 1.
#[must_use]
pub fn run(arguments: Run) -> ExitCode {
    match try_run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            error.exit_code()
        }
    }
}

fn try_run(arguments: Run) -> Result<(), RunError> {
    let Run {
        config,
        kubernetes,
        namespace,
        pod,
    } = arguments;
    let path = config;
    let config = match &path {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if kubernetes {
        let place = Place::new(namespace, pod);
        return runtime.block_on(async {
            let stop = Stop::new()?;
            Ok(kubernetes::serve(config, path.as_deref(), place, stop).await?)
        });
    }
    let inventory = inventory::read(&config.inventory)?;
    let agents = Arc::new(Fleet::new(Connector::new(&config.tls)?).of(&inventory));
    let known = Arc::new(Known { inventory, agents });
    let jobs = Arc::new(Jobs::new(known, Arc::new(Metrics::new())));
    runtime.block_on(serve(config, jobs))
}

/// SIGTERM and SIGINT.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn wanted(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tracing::info!("ending");
    }
}

async fn serve(config: Config, jobs: Arc<Jobs>) -> Result<(), RunError> {
    let users = Listener::bind(&config.listen).await?;
    let scrapes = Listener::tcp(config.metrics_listen).await?;
    let mut stop = Stop::new()?;
    tracing::info!(
        listen = ?config.listen, metrics = %config.metrics_listen,
        nodes = jobs.known().inventory.nodes.len(), "serving"
    );
    let for_scrapes = Arc::clone(&jobs);
    let for_users = Arc::new(Api {
        jobs: Arc::clone(&jobs),
        mesh: None,
    });
    tokio::select! {
        () = users.serve(Limits::COMMON, move |request| api::answer(Arc::clone(&for_users), request)) => {}
        () = scrapes.serve(Limits::COMMON, move |request| {
            api::answer_scrape(Arc::clone(for_scrapes.metrics()), request)
        }) => {}
        () = stop.wanted() => {}
    }
    shut_down(&jobs, CLEAN_UP_DEADLINE).await;
    Ok(())
}

/// Ends the job that runs, and has the agents forget it.
pub(crate) async fn shut_down(jobs: &Jobs, deadline: Duration) {
    if tokio::time::timeout(deadline, jobs.shut_down())
        .await
        .is_err()
    {
        tracing::warn!("the job did not end in {deadline:?}; agents end its runs themselves");
    }
}
