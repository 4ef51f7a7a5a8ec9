//! Pods that nobody watches: read from the API server when they are named.

use std::sync::Arc;

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, try_join_all},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use nettoll_core::{annotation::measurable, api::Job, endpoint::Endpoint, inventory::PodFacts};

use super::{
    client::{ApiError, ask},
    facts,
    live::Live,
};
use crate::directory::{Directory, DirectoryError, Known};

/// A pod as it is at the API server; `home` is nettoll's own namespace.
pub(super) async fn pod(
    client: &Client,
    home: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<PodFacts>, ApiError> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let pod = ask(format!("read pod {namespace}/{name}"), api.get_opt(name)).await?;
    Ok(pod.map(|pod| facts::pod(&pod, home)))
}

/// The cluster, with any pods that a job names. Jobs come from whoever may forward the port of
/// this instance's pod, and that right is the only one they need.
pub(super) struct Lookup {
    pub(super) client: Client,
    /// Nettoll's own namespace.
    pub(super) home: String,
    pub(super) live: Arc<Live>,
}

impl Lookup {
    /// A pod in which a socket can be opened now.
    async fn measurable(&self, namespace: &str, name: &str) -> Result<PodFacts, DirectoryError> {
        let found = pod(&self.client, &self.home, namespace, name).await;
        let found = found.map_err(|error| DirectoryError::Unknown(error.to_string()))?;
        let missing = || DirectoryError::Unfit(format!("there is no pod/{namespace}/{name}"));
        let pod = found.ok_or_else(missing)?;
        match measurable(&pod, &self.live.cluster()) {
            Ok(None) => Ok(pod),
            Ok(Some(reason)) => Err(DirectoryError::Unfit(format!("{reason}; try again later"))),
            Err(refusal) => Err(DirectoryError::Unfit(refusal.to_string())),
        }
    }
}

impl Directory for Lookup {
    fn now(&self) -> Arc<Known> {
        self.live.with(&[], &[])
    }

    fn for_job<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Arc<Known>, DirectoryError>> {
        async move {
            let named = job.endpoints().filter_map(|endpoint| match endpoint {
                Endpoint::Pod { namespace, name } => Some(self.measurable(namespace, name)),
                _ => None,
            });
            let pods = try_join_all(named).await?;
            Ok(self.live.with(&pods.iter().collect::<Vec<_>>(), &[]))
        }
        .boxed()
    }
}
