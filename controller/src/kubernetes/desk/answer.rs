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
/// The HTTP status where an object of this name is there already.
const CONFLICT: u16 = 409;

/// Writes the annotations; false where the pod is not there any more.
pub(super) async fn write(client: &Client, subject: &Subject, answer: &Answer) -> bool {
    let api: Api<Pod> = Api::namespaced(client.clone(), &subject.namespace);
    // The UID makes the API server refuse to answer another pod of this name.
    let patch = json!({"metadata": {"uid": subject.uid, "annotations": answer.annotations()}});
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
    insist(|| async {
        let what = format!("answer pod {}/{}", subject.namespace, subject.name);
        let patched = api.patch_subresource("status", &subject.name, &parameters, &patch);
        ask(what, patched).await.map(drop)
    })
    .await
}

/// Tells it in an Event.
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
    let event = note::event(subject, mood, reason, message);
    insist(|| async {
        match note::write(client, &event).await {
            // An earlier try came through, and its answer did not.
            Err(error) if error.code() == Some(CONFLICT) => Ok(()),
            written => written,
        }
    })
    .await;
}

/// Tries until it is written; false where it cannot be.
async fn insist<F: Future<Output = Result<(), ApiError>>>(attempt: impl Fn() -> F) -> bool {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(()) => return true,
            Err(error) if is_final(&error) || Instant::now() >= until => {
                tracing::warn!("{error}");
                return false;
            }
            Err(error) => tracing::warn!("{error}; trying again"),
        }
        sleep(RETRY).await;
    }
}

/// Trying again would not help.
fn is_final(error: &ApiError) -> bool {
    error
        .code()
        .is_some_and(|code| (400..500).contains(&code) && code != 429)
}
