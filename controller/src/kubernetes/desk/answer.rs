//! Writing an answer: annotations by way of `pods/status`, so that the controller needs no right
//! to change a pod's specification, and an Event.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use nettoll_core::annotation::Answer;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::super::{
    client::{ApiError, ask},
    note::{self, Mood, Subject},
};

/// How long an answer is tried to be written while the API server is away.
const PATIENCE: Duration = Duration::from_secs(300);
const RETRY: Duration = Duration::from_secs(2);

/// Writes the annotations; false where the pod is not there any more.
pub(super) async fn write(client: &Client, subject: &Subject, answer: &Answer) -> bool {
    let api: Api<Pod> = Api::namespaced(client.clone(), &subject.namespace);
    // The UID makes the API server refuse to answer another pod of this name.
    let patch = json!({"metadata": {"uid": subject.uid, "annotations": answer.annotations()}});
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
    let until = Instant::now() + PATIENCE;
    loop {
        let what = format!("answer pod {}/{}", subject.namespace, subject.name);
        let patched = api.patch_subresource("status", &subject.name, &parameters, &patch);
        match ask(what, patched).await {
            Ok(_) => return true,
            Err(error) if is_final(&error) || Instant::now() >= until => {
                tracing::warn!("{error}");
                return false;
            }
            Err(error) => tracing::warn!("{error}; trying again"),
        }
        sleep(RETRY).await;
    }
}

/// Tells it in an Event as well. One that cannot be written is not tried again.
pub(super) async fn note(
    client: &Client,
    subject: &Subject,
    mood: Mood,
    reason: &str,
    message: &str,
) {
    let Subject {
        namespace, name, ..
    } = subject;
    tracing::info!("pod {namespace}/{name}: {reason}: {message}");
    if let Err(error) = note::write(client, subject, mood, reason, message).await {
        tracing::warn!("{error}");
    }
}

/// Trying again would not help.
fn is_final(error: &ApiError) -> bool {
    error
        .code()
        .is_some_and(|code| (400..500).contains(&code) && code != 429)
}
