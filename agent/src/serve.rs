//! The agent's life: configuration, API, metrics, and a signal that ends it.

use std::{
    convert::Infallible,
    io,
    net::{self, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    runtime::Builder,
    select,
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    time::{MissedTickBehavior, interval},
};

use crate::{
    api::{self, Agent},
    config::{Config, ConfigError, Identity},
    doctor::{capabilities, hooks},
    http, metrics,
    privilege::{self, Privileged},
    probe::Settings,
    tls::Keeper,
};

/// Between two looks for runs that nobody speaks of.
const REAP_INTERVAL: Duration = Duration::from_secs(1);
/// Threads for connections: the work is done on others.
const WORKERS: usize = 2;
/// Their name.
const NETWORK: &str = "nettoll-network";
/// For connections to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The exit code after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Why there is no probe where none is wanted.
const WITHOUT_PROBE: &str = "it is switched off by 'probe = false' in the agent's configuration";

/// Why the agent ended before it was told to.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    /// Not enough privilege.
    #[error(
        "this process lacks {0}; run it as root, or give the binary or container these \
         capabilities ('nettoll-agent doctor' says what each is for)"
    )]
    Privilege(String),
    /// A bad configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address} ('{key}' in the configuration): {error}; is it an address of \
         this node, and does nothing else listen there?"
    )]
    Listen {
        /// Of the configuration.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// The kernel's answer.
        error: io::Error,
    },
    /// The kernel has no threads, signals or /proc for the agent.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

impl ServeError {
    /// 2: wrong usage, missing privilege or prerequisite.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Privilege(_) | Self::Config(_) | Self::Listen { .. } => 2,
            Self::Start(_) => 1,
        }
    }
}

/// Serves a controller until a signal ends the agent.
pub(crate) fn run(config: &Path, identity: Identity, settings: Settings) -> ExitCode {
    serve(config, identity, settings).unwrap_or_else(|error| {
        eprintln!("nettoll-agent: {error}");
        ExitCode::from(error.exit_code())
    })
}

fn serve(path: &Path, identity: Identity, settings: Settings) -> Result<ExitCode, ServeError> {
    let config = Config::read(path, identity, settings);
    let probe = config.as_ref().map_or(true, |config| config.probe);
    // Said first: who lacks privilege may not be able to read the file.
    let missing = capabilities::missing(probe)?;
    if !missing.is_empty() {
        return Err(ServeError::Privilege(missing.join(", ")));
    }
    let config = config?;
    let tls = Keeper::new(config.tls);
    let hooks = if probe {
        let (hooks, error) = hooks::found(true, &config.settings);
        if let Some(error) = error {
            tracing::warn!("no probe: {error}");
        }
        for hook in hooks.iter().filter(|hook| hook.required && !hook.works) {
            tracing::warn!("the probe does without {}: {}", hook.name, hook.detail);
        }
        hooks
    } else {
        tracing::info!("no probe: {WITHOUT_PROBE}");
        hooks::switched_off(WITHOUT_PROBE)
    };
    let agent = Arc::new(Agent::new(
        config.node.clone(),
        config.endpoints,
        config.settings,
    ));
    if !probe {
        agent.runs.without_probe(WITHOUT_PROBE);
    }
    let privileged = drop_privileges()?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name(NETWORK)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        // Signals first: from here on each one ends the agent in order.
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        // The API last: who reaches it finds the metrics, too.
        let metrics = listen(&privileged, "metrics_listen", config.metrics_listen).await?;
        let api = listen(&privileged, "listen", config.listen).await?;
        tracing::info!(node = config.node, api = %config.listen, "the agent serves");
        let commands = {
            let (agent, privileged) = (agent.clone(), privileged.clone());
            move |request| api::handle(agent.clone(), privileged.clone(), request)
        };
        let pages = {
            let source = Arc::new(metrics::Source {
                agent: agent.clone(),
                hooks,
                without: (!probe).then_some(WITHOUT_PROBE),
                waiting: Semaphore::new(metrics::MAX_WAITING),
            });
            let (tls, privileged) = (tls.clone(), privileged.clone());
            move |request| {
                metrics::handle(source.clone(), privileged.clone(), tls.waits_for(), request)
            }
        };
        let code = select! {
            never = http::serve(api, Some(tls.clone()), api::LIMITS, commands) => match never {},
            never = http::serve(metrics, None, metrics::LIMITS, pages) => match never {},
            never = tls.follow(privileged.clone()) => match never {},
            never = reap(agent.clone(), privileged.clone()) => match never {},
            _ = interrupt.recv() => ExitCode::from(INTERRUPTED),
            _ = terminate.recv() => ExitCode::SUCCESS,
        };
        tracing::info!("the agent ends");
        let end = move || {
            agent.light.end();
            agent.runs.delete_all();
        };
        if privileged.run(end).await.is_none() {
            tracing::error!("ending the runs failed");
        }
        Ok(code)
    });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    ended
}

/// Leaves the calling thread, and all that it will start, without capabilities: they are on the
/// threads that this gives. `CAP_SYSLOG` is on none, for the kernel's symbols are open already.
fn drop_privileges() -> io::Result<Privileged> {
    privilege::forbid_gains()?;
    privilege::drop_syslog()?;
    let privileged = Privileged::start()?;
    privilege::drop_all()?;
    Ok(privileged)
}

/// Low ports need privilege, too.
async fn listen(
    privileged: &Privileged,
    key: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, ServeError> {
    let bind = move || {
        let listener = net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let bound = privileged.run(bind).await;
    bound
        .unwrap_or_else(|| Err(io::Error::other("the thread for it panicked")))
        .and_then(TcpListener::from_std)
        .map_err(|error| ServeError::Listen {
            key,
            address,
            error,
        })
}

/// Ends the runs, and the light plan, that nobody has spoken of for too long.
async fn reap(agent: Arc<Agent>, privileged: Privileged) -> Infallible {
    let mut ticks = interval(REAP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let agent = agent.clone();
        let look = move || {
            agent.runs.reap();
            agent.light.reap();
        };
        if privileged.run(look).await.is_none() {
            tracing::error!("looking for abandoned runs failed");
        }
    }
}
