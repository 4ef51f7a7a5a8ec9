//! Pods and services that nobody watches: read from the API server when they are named.

use std::sync::Arc;

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, try_join_all},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use nettoll_core::{
    annotation::measurable,
    api::{Backend, InventoryService, Job, TestJob},
    endpoint::Endpoint,
    inventory::PodFacts,
    plan,
};

use super::{
    client::{ApiError, ask},
    facts,
    live::Live,
    services,
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

/// The cluster, with any pods and service that a job names. Jobs come from whoever may forward the port of
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
        let missing = || DirectoryError::Unfit(format!("there is no pod/{namespace}/{name}"));
        let pod = found.map_err(unknown)?.ok_or_else(missing)?;
        match measurable(&pod, &self.live.cluster()) {
            Ok(None) => Ok(pod),
            Ok(Some(reason)) => Err(DirectoryError::Unfit(format!("{reason}; try again later"))),
            Err(refusal) => Err(DirectoryError::Unfit(refusal.to_string())),
        }
    }

    /// The service that a test goes to, and the pod that will answer for it.
    async fn served(
        &self,
        test: &TestJob,
        client: Option<&PodFacts>,
    ) -> Result<Option<(InventoryService, PodFacts)>, DirectoryError> {
        let Some((namespace, name)) = test.to.service().and_then(|(it, _)| it.object()) else {
            return Ok(None);
        };
        let service = services::read(&self.client, namespace, name).await;
        let missing = || DirectoryError::Unfit(format!("there is no {}", test.to));
        let service = service.map_err(unknown)?.ok_or_else(missing)?;
        let node = match &test.from {
            Endpoint::Node(node) => Some(node),
            _ => client.and_then(|pod| pod.node.as_ref()),
        };
        let client = plan::Client {
            endpoint: &test.from,
            node: node.map(String::as_str).unwrap_or_default(),
        };
        // The plan chooses by the same rules, and finds this pod among those that are known.
        let can = |backend: &Backend| self.live.cluster().has_agent(&backend.node);
        let served = plan::served(&service, &test.to, test.test.protocol(), client, can);
        let served = served.map_err(|error| DirectoryError::Unfit(error.to_string()))?;
        let Some(Endpoint::Pod { namespace, name }) = served.backend.endpoint() else {
            return Err(missing());
        };
        let backend = self.measurable(&namespace, &name).await?;
        Ok(Some((service, backend)))
    }
}

fn unknown(error: ApiError) -> DirectoryError {
    DirectoryError::Unknown(error.to_string())
}

impl Directory for Lookup {
    fn now(&self) -> Arc<Known> {
        self.live.with(&[], &[])
    }

    fn for_job<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Arc<Known>, DirectoryError>> {
        async move {
            // The list of URLs is for annotations, and no request leaves a pod but by that list.
            if let Some(url) = job.endpoints().find(|to| matches!(to, Endpoint::Url(_))) {
                return Err(DirectoryError::Unfit(format!(
                    "{url} cannot be tested by a command; annotate the pod, where \
                     on_demand.allow_urls of the controller's configuration lists the URL"
                )));
            }
            let named = job.endpoints().filter_map(|endpoint| match endpoint {
                Endpoint::Pod { namespace, name } => Some(self.measurable(namespace, name)),
                _ => None,
            });
            let mut pods = try_join_all(named).await?;
            let mut services = Vec::new();
            if let Job::Test(test) = job {
                let client = pods.iter().find(|pod| pod.endpoint() == test.from);
                if let Some((service, backend)) = self.served(test, client).await? {
                    services.push(service);
                    // A client may be its own backend.
                    if pods.iter().all(|pod| pod.uid != backend.uid) {
                        pods.push(backend);
                    }
                }
            }
            Ok(self.live.with(&pods.iter().collect::<Vec<_>>(), &services))
        }
        .boxed()
    }
}
