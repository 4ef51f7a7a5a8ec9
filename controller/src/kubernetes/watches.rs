//! Which objects are watched, and who hears of them.
//!
//! | what | how | for |
//! |---|---|---|
//! | nodes | whole | the inventory |
//! | pods of nettoll, by label, in its own namespace | whole | the inventory |
//! | namespaces | metadata | the label that allows tests |
//! | all pods | metadata | annotations, and pods that go away |

use std::{convert::Infallible, sync::Arc};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{Api, Client, ResourceExt as _, core::PartialObjectMeta, runtime::watcher};
use nettoll_core::inventory::Event;
use tokio::sync::watch;

use super::{
    desk::Desk,
    facts,
    live::Live,
    watch::{Change, follow},
};

/// Watches for ever. The desk hears of pods only when all else is known, for it refuses what it
/// does not know; the mesh begins then, so as not to plan for a part of the cluster.
pub(crate) async fn feed(
    client: &Client,
    namespace: &str,
    live: &Arc<Live>,
    desk: &Arc<Desk>,
    mesh: impl Future<Output = Infallible>,
) {
    let synced = Synced::new(3);
    let nodes = follow(
        "nodes",
        Api::<Node>::all(client.clone()),
        watcher::Config::default(),
        |node| node.name_any(),
        |_| true,
        synced.tell(|change| match change {
            Change::There(node) => live.apply(Event::Node(facts::node(&node))),
            Change::Gone(name) => live.apply(Event::NodeGone(name)),
            Change::Synced => {}
        }),
    );
    let own = follow(
        "the pods of nettoll",
        Api::<Pod>::namespaced(client.clone(), namespace),
        watcher::Config::default().labels("app.kubernetes.io/name=nettoll"),
        |pod| pod.uid().unwrap_or_default(),
        |_| true,
        synced.tell(|change| match change {
            Change::There(pod) => live.apply(Event::Pod(facts::pod(&pod, namespace))),
            Change::Gone(uid) => live.apply(Event::PodGone { uid }),
            Change::Synced => {}
        }),
    );
    let namespaces = follow(
        "namespaces",
        Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
        watcher::Config::default(),
        |namespace| namespace.name_any(),
        |_| true,
        synced.tell(|change| match change {
            Change::There(namespace) => live.apply(facts::namespace(&namespace)),
            Change::Gone(name) => live.apply(Event::NamespaceGone(name)),
            Change::Synced => {}
        }),
    );
    let annotated = async {
        synced.wait().await;
        tracing::info!(
            nodes = live.cluster().inventory().nodes.len(),
            "the cluster is known"
        );
        follow(
            "annotated pods",
            Api::<PartialObjectMeta<Pod>>::all(client.clone()),
            watcher::Config::default(),
            |pod| pod.uid().unwrap_or_default(),
            |pod| Desk::concerns(&pod.metadata),
            |change| match change {
                Change::There(pod) => desk.see(pod.metadata),
                Change::Gone(uid) => desk.gone(&uid),
                Change::Synced => {}
            },
        )
        .await;
    };
    let meshed = async {
        synced.wait().await;
        mesh.await
    };
    tokio::join!(nodes, own, namespaces, annotated, meshed);
}

/// Counts the watches that have told all that is there.
struct Synced {
    wanted: usize,
    so_far: watch::Sender<usize>,
}

impl Synced {
    fn new(wanted: usize) -> Self {
        Self {
            wanted,
            so_far: watch::Sender::new(0),
        }
    }

    /// Passes on what a watch tells, and counts it once.
    fn tell<K>(&self, mut tell: impl FnMut(Change<K>)) -> impl FnMut(Change<K>) {
        let mut counted = false;
        move |change| {
            let synced = matches!(change, Change::Synced);
            tell(change);
            if synced && !counted {
                counted = true;
                self.so_far.send_modify(|so_far| *so_far += 1);
            }
        }
    }

    async fn wait(&self) {
        let mut so_far = self.so_far.subscribe();
        // The sender is our own: it does not go away.
        let _ = so_far.wait_for(|&so_far| so_far >= self.wanted).await;
    }
}
