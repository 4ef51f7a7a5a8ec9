//! A controller in a cluster: its API is on its pod's loopback, which the right to forward that
//! pod's port reaches, as `kubectl port-forward` does. No local port is opened.

use std::{path::PathBuf, time::Duration};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use nettoll_core::{
    api::{CONTROLLER_PORT, LEASE},
    reason,
};
use tokio::{io::DuplexStream, time::timeout};

/// Where nettoll is installed unless told otherwise.
const NAMESPACE: &str = "nettoll";
/// How long the API server has for one answer.
const REQUEST: Duration = Duration::from_secs(15);

/// Which cluster, as a user names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct ClusterArgs {
    /// The kubeconfig of the controller's cluster [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE", conflicts_with = "controller")]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context [default: its current one]
    #[arg(long, value_name = "NAME", conflicts_with = "controller")]
    context: Option<String>,
    /// The namespace of nettoll in the cluster [default: nettoll]
    #[arg(short, long, value_name = "NAME", conflicts_with = "controller")]
    namespace: Option<String>,
}

impl ClusterArgs {
    /// Whether the user named a cluster at all.
    pub(super) fn given(&self) -> bool {
        *self != Self::default()
    }
}

/// Why a cluster's controller cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody named a controller, and none is found.
    #[error(
        "no controller to ask: no lab is up ('nettoll lab up' builds one) and there is no \
         kubeconfig ({0}); name one with --controller, NETTOLL_CONTROLLER or --kubeconfig"
    )]
    Nowhere(String),
    /// The kubeconfig cannot be used.
    #[error("cannot use the kubeconfig: {0}; does 'kubectl cluster-info' work with it?")]
    Kubeconfig(String),
    /// The API server does not answer.
    #[error("the cluster does not answer: {0}; does 'kubectl cluster-info' work?")]
    Unreachable(String),
    /// The API server does not know the user, or gives no right.
    #[error(
        "the cluster refuses to {what}: {told}; it takes 'get' on the Lease {LEASE} and 'get' and \
         'create' on pods/portforward in namespace {namespace}, as deploy/samples/user.yaml gives"
    )]
    Forbidden {
        /// What was tried.
        what: &'static str,
        /// The API server's words.
        told: String,
        /// Of nettoll.
        namespace: String,
    },
    /// There is no Lease.
    #[error(
        "there is no Lease {LEASE} in namespace {0}, so no controller was ever there: install \
         nettoll, or name its namespace with --namespace"
    )]
    NotInstalled(String),
    /// The Lease has no holder.
    #[error("no controller leads in namespace {0}: 'kubectl get pods -n {0}' shows why")]
    NoLeader(String),
    /// The Lease's holder is no more.
    #[error("the leader {0} is gone, another one takes over within 20 s: try again")]
    Gone(String),
    /// The leader does not take the connection.
    #[error(
        "{pod} does not answer on its port {CONTROLLER_PORT} ({told}): try again, or see its log"
    )]
    NotForwarded {
        /// The leader's pod.
        pod: String,
        /// The kubelet's words.
        told: String,
    },
}

impl Error {
    /// Of the kubelet's and the runtime's many words the last are what happened.
    pub(super) fn not_forwarded(pod: String, told: &str) -> Self {
        let refused = "connection refused";
        let told = if told.contains(refused) {
            refused
        } else {
            told.trim()
        };
        Self::NotForwarded {
            pod,
            told: told.replace('\n', " "),
        }
    }
}

/// A cluster in which nettoll is installed.
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
}

/// A connection to the leader's API.
pub(super) struct Forwarded {
    pub(super) stream: DuplexStream,
    /// The leader's pod.
    pub(super) pod: String,
    /// Why the connection ended, where the kubelet says so.
    pub(super) refusal: Refusal,
}

/// Resolves with the kubelet's words, or with nothing when the connection ends well.
pub(super) type Refusal = std::pin::Pin<Box<dyn Future<Output = Option<String>> + Send>>;

impl Cluster {
    /// The cluster that a kubeconfig names. Nothing is asked yet.
    pub(super) async fn of(args: ClusterArgs) -> Result<Self, Error> {
        let given = args.given();
        let ClusterArgs {
            kubeconfig,
            context,
            namespace,
        } = args;
        let options = KubeConfigOptions {
            context,
            ..KubeConfigOptions::default()
        };
        let config = match kubeconfig {
            Some(path) => match Kubeconfig::read_from(path) {
                Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
                Err(error) => Err(error),
            },
            None => Config::from_kubeconfig(&options).await,
        };
        let config = config.map_err(|error| match &error {
            KubeconfigError::FindPath | KubeconfigError::ReadConfig(..) if !given => {
                Error::Nowhere(reason(&error))
            }
            // The parser quotes what it could not read, and that may be a key.
            KubeconfigError::Parse(_) => Error::Kubeconfig("it is no valid YAML".to_owned()),
            _ => Error::Kubeconfig(reason(&error)),
        })?;
        Ok(Self {
            client: Client::try_from(config).map_err(|error| Error::Kubeconfig(reason(&error)))?,
            namespace: namespace.unwrap_or_else(|| NAMESPACE.to_owned()),
        })
    }

    /// Opens a connection to the API of the controller that leads now.
    pub(super) async fn open(&self) -> Result<Forwarded, Error> {
        let pod = self.leader().await?;
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
        let what = "forward the controller's port";
        let ports = [CONTROLLER_PORT];
        let forwarded = self.ask(what, pods.portforward(&pod, &ports)).await?;
        let gone = || Error::Gone(pod.clone());
        let mut forwarded = forwarded.ok_or_else(gone)?;
        let stream = forwarded.take_stream(CONTROLLER_PORT);
        let refusal = forwarded.take_error(CONTROLLER_PORT);
        let (stream, refusal) = stream.zip(refusal).ok_or_else(gone)?;
        Ok(Forwarded {
            stream,
            refusal: Box::pin(refusal),
            pod,
        })
    }

    /// The pod of the controller that leads.
    async fn leader(&self) -> Result<String, Error> {
        let leases = Api::<Lease>::namespaced(self.client.clone(), &self.namespace);
        let lease = self.ask("read who leads", leases.get(LEASE)).await?;
        let lease = lease.ok_or_else(|| Error::NotInstalled(self.namespace.clone()))?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        holder
            .filter(|holder| !holder.is_empty())
            .ok_or_else(|| Error::NoLeader(self.namespace.clone()))
    }

    /// `None` for what is not there.
    async fn ask<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<Option<T>, Error> {
        let Ok(answer) = timeout(REQUEST, request).await else {
            return Err(Error::Unreachable(format!("no answer in {REQUEST:?}")));
        };
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                Err(Error::Forbidden {
                    what,
                    told: status.message,
                    namespace: self.namespace.clone(),
                })
            }
            Err(error) => Err(Error::Unreachable(reason(&error))),
        }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "namespace {}", self.namespace)
    }
}
