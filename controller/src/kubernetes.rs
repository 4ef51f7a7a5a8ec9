//! The controller in a cluster, in the order of what happens:
//!
//! 1. [`client`]: the connection to the API server.
//! 2. [`lease`]: of several controllers one leads; the others serve `/healthz`, `/readyz` and the
//!    metrics of their process.
//! 3. [`certificates`] and [`secrets`]: the CA, and the keys of the agents and of the controller.
//! 4. [`watch`], [`facts`] and [`live`]: the watches feed the inventory of `nettoll-core`;
//!    [`lookup`] reads pods that nobody watches.
//! 5. The [`mesh`](crate::mesh) begins when the inventory is known.
//! 6. [`desk`]: annotations on pods become jobs, and jobs become answers; [`services`] are read
//!    where one asks for them, and [`note`] tells of answers in Events.
//! 7. [`reload`]: a changed configuration is taken up without a restart.
//!
//! Who loses the Lease ends the process at once: agents end the runs of a controller that they
//! hear no more of, and the next leader takes up what the annotations still ask for.

mod certificates;
mod client;
mod desk;
mod facts;
mod lease;
mod live;
mod lookup;
mod note;
mod reload;
mod secrets;
mod services;
mod watch;
mod watches;

use std::{
    convert::Infallible,
    fs,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use time::OffsetDateTime;
use tokio::time::sleep;

use self::{
    client::ApiError,
    desk::Desk,
    lease::{Lease, Lost},
    live::Live,
    lookup::Lookup,
    secrets::{Material, Secrets},
};
use crate::{
    api::{self, Api, Limits, ListenError, Listener},
    config::Config,
    jobs::Jobs,
    mesh::{Ground, Mesh},
    metrics::Metrics,
    run::{Stop, shut_down},
};

/// How long a cancelled job has to clean up on the agents: less than a pod has to end.
const CLEAN_UP_DEADLINE: Duration = Duration::from_secs(6);
/// Time between two looks at the Secrets.
const SECRETS_PERIOD: Duration = Duration::from_secs(15);
/// The same after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// Why the controller ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KubernetesError {
    /// There is no API server to speak to.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// See [`ListenError`].
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// See [`Lost`].
    #[error(transparent)]
    Lost(#[from] Lost),
}

impl KubernetesError {
    /// 2 where something has to be set right first.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Api(_) | Self::Listen(_) => 2.into(),
            Self::Lost(_) => ExitCode::FAILURE,
        }
    }
}

/// Where this instance is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    namespace: String,
    identity: String,
}

impl Place {
    /// `pod` is the instance's name; without one the host's and the process's are.
    pub(crate) fn new(namespace: String, pod: Option<String>) -> Self {
        let identity = pod.filter(|pod| !pod.is_empty()).unwrap_or_else(|| {
            let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            format!("{}-{}", host.trim(), std::process::id())
        });
        Self {
            namespace,
            identity,
        }
    }
}

/// Serves until told to stop, or until the Lease is lost.
pub(crate) async fn serve(
    config: Config,
    path: Option<&Path>,
    place: Place,
    mut stop: Stop,
) -> Result<(), KubernetesError> {
    let client = client::connect().await?;
    let scrapes = Listener::tcp(config.metrics_listen).await?;
    let shown = Arc::new(Mutex::new(Arc::new(Metrics::of_process())));
    let for_scrapes = Arc::clone(&shown);
    tokio::spawn(scrapes.serve(Limits::COMMON, move |request| {
        let shown = for_scrapes.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = Arc::clone(&shown);
        drop(shown);
        api::answer_scrape(metrics, request)
    }));
    tracing::info!(metrics = %config.metrics_listen, namespace = place.namespace,
        identity = place.identity, "serving");
    let lease = Lease::new(client.clone(), &place.namespace, place.identity.clone());
    let lease = Arc::new(lease);
    tokio::select! {
        () = lease.acquire() => {}
        () = stop.wanted() => return Ok(()),
    }
    tracing::info!("this instance leads");
    let config = reload::now(path, config);
    let ended = tokio::select! {
        lost = lease.keep() => return Err(lost.into()),
        ended = lead(config, path, &place, client, &lease, &shown, &mut stop) => ended,
    };
    lease.give_back().await;
    ended
}

/// The leader's work, until told to stop.
async fn lead(
    config: Config,
    path: Option<&Path>,
    place: &Place,
    client: Client,
    lease: &Arc<Lease>,
    shown: &Mutex<Arc<Metrics>>,
    stop: &mut Stop,
) -> Result<(), KubernetesError> {
    let secrets = Secrets::new(client.clone(), &place.namespace);
    let (material, connector) = tokio::select! {
        provided = provide(&secrets) => provided,
        () = stop.wanted() => return Ok(()),
    };
    let live = Arc::new(Live::new(&config.kubernetes.network, connector));
    let mesh = Arc::new(Mesh::new(config.mesh.clone()));
    let metrics = Arc::new(Metrics::with_mesh(Arc::clone(&mesh)));
    *shown.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&metrics);
    let ground: Arc<dyn Ground> = Arc::<Live>::clone(&live);
    let running = Arc::clone(&mesh).run(ground, Arc::clone(&metrics));
    let directory = Lookup {
        client: client.clone(),
        home: place.namespace.clone(),
        live: Arc::clone(&live),
    };
    let jobs = Arc::new(Jobs::new(directory, metrics));
    let users = Listener::bind(&config.listen).await?;
    let for_users = Arc::new(Api {
        jobs: Arc::clone(&jobs),
        mesh: Some(Arc::clone(&mesh)),
    });
    let desk = Arc::new(Desk::new(
        client.clone(),
        &place.namespace,
        Arc::clone(&live),
        Arc::clone(&jobs),
        Arc::clone(lease),
        config.on_demand.policy(),
    ));
    let take = |config: &Config| {
        desk.allow(config.on_demand.policy());
        mesh.set(config.mesh.clone());
    };
    tokio::select! {
        () = users.serve(Limits::COMMON, move |request| api::answer(Arc::clone(&for_users), request)) => {}
        () = watches::feed(&client, &place.namespace, &live, &desk, running) => {}
        never = Arc::clone(&mesh).stream(Arc::clone(&jobs)) => match never {},
        never = renew(&secrets, material, &live) => match never {},
        never = reload::follow(path, config, &client, place, take) => match never {},
        () = stop.wanted() => {}
    }
    // What is under way is taken up by the next leader.
    desk.stop();
    shut_down(&jobs, CLEAN_UP_DEADLINE).await;
    Ok(())
}

/// Certificates, as soon as they can be had.
async fn provide(secrets: &Secrets) -> (Material, crate::agents::Connector) {
    loop {
        let provided = secrets.provide(OffsetDateTime::now_utc()).await;
        match provided.and_then(|material| {
            let connector = material.connector()?;
            Ok((material, connector))
        }) {
            Ok(provided) => return provided,
            Err(error) => tracing::error!("no certificates: {error}"),
        }
        sleep(RETRY).await;
    }
}

/// Renews the certificates when they are due, and takes new ones of others.
async fn renew(secrets: &Secrets, mut material: Material, live: &Live) -> Infallible {
    loop {
        sleep(SECRETS_PERIOD).await;
        match secrets.provide(OffsetDateTime::now_utc()).await {
            Ok(new) if new == material => {}
            Ok(new) => match new.connector() {
                Ok(connector) => {
                    tracing::info!("connections to agents use other certificates from now on");
                    live.trust(connector);
                    material = new;
                }
                Err(error) => tracing::error!("the old certificates stay in use: {error}"),
            },
            Err(error) => tracing::error!("the certificates are not looked after: {error}"),
        }
    }
}
