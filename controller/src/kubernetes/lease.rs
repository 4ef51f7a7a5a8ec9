//! Leader election by a Lease: of several controllers one works, the others wait.
//!
//! Every write names the resource version that it was read at, so of two that write at once one
//! fails. No two clocks are compared: a holder is gone when its Lease has not changed for
//! [`DURATION`] of the own monotonic clock. A holder that cannot renew stops [`RENEW_DEADLINE`]
//! after its last renewal, before another one may begin.
//!
//! What the next leader has to know is a note on the Lease: only who holds it can change it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease as Object, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use nettoll_core::api::LEASE;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::client::{ApiError, ask_within};

/// The annotation that holds the note.
const NOTE: &str = "nettoll.dev/usage";
/// How long an unchanged Lease is its holder's.
const DURATION: Duration = Duration::from_secs(15);
/// How long after its last renewal a holder goes on.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two tries.
const RETRY: Duration = Duration::from_secs(2);
/// How long the API server has for one answer.
const REQUEST: Duration = Duration::from_secs(4);

/// Why the Lease is no longer held.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// Another one has it.
    #[error("the Lease {LEASE} was taken by {0}; this instance ends, and may start again")]
    Taken(String),
    /// It could not be renewed.
    #[error(
        "the Lease {LEASE} was not renewed in {RENEW_DEADLINE:?} ({0}); this instance ends, and may start again"
    )]
    Expired(String),
}

/// The Lease, as one candidate sees it.
pub(crate) struct Lease {
    api: Api<Object>,
    identity: String,
    /// As it is on the Lease, or shall be; `None` until the Lease is held.
    note: Mutex<Option<String>>,
    /// There is a note that is not on the Lease yet.
    noted: Notify,
}

/// What a try came to.
enum Try {
    Held,
    /// Somebody else's, in this version.
    Others {
        holder: String,
        version: String,
    },
}

/// A Lease of somebody else, and since when it has not changed.
struct Seen {
    version: String,
    since: Instant,
}

impl Lease {
    /// A candidate; `identity` is its alone.
    pub(crate) fn new(client: Client, namespace: &str, identity: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            identity,
            note: Mutex::default(),
            noted: Notify::new(),
        }
    }

    /// The last leader's note, or what was set since.
    pub(crate) fn note(&self) -> String {
        self.noted_so_far().clone().unwrap_or_default()
    }

    /// Another note from now on; it is written at once, or with a later renewal.
    pub(crate) fn set_note(&self, note: String) {
        *self.noted_so_far() = Some(note);
        self.noted.notify_one();
    }

    fn noted_so_far(&self) -> MutexGuard<'_, Option<String>> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is held.
    pub(crate) async fn acquire(&self) {
        let mut seen: Option<Seen> = None;
        let mut told = String::new();
        loop {
            let expired = seen
                .as_ref()
                .filter(|seen| seen.since.elapsed() >= DURATION)
                .map(|seen| seen.version.clone());
            let state = match self.attempt(expired.as_deref()).await {
                Ok(Try::Held) => return,
                Ok(Try::Others { holder, version }) => {
                    if seen.as_ref().is_none_or(|seen| seen.version != version) {
                        let since = Instant::now();
                        seen = Some(Seen { version, since });
                    }
                    format!("waiting: {holder} leads")
                }
                Err(error) => error.to_string(),
            };
            if state != told {
                tracing::info!("{state}");
                told = state;
            }
            sleep(RETRY).await;
        }
    }

    /// Renews what is held until it is lost.
    pub(crate) async fn keep(&self) -> Lost {
        let mut renewed = Instant::now();
        let mut why = String::new();
        loop {
            let deadline = renewed + RENEW_DEADLINE;
            let at = Instant::now();
            match timeout_at(deadline, self.attempt(None)).await {
                Ok(Ok(Try::Held)) => renewed = at,
                Ok(Ok(Try::Others { holder, .. })) => return Lost::Taken(holder),
                Ok(Err(error)) => {
                    tracing::warn!("the Lease is not renewed: {error}");
                    why = error.to_string();
                }
                Err(_) => return Lost::Expired(why),
            }
            if Instant::now() + RETRY >= renewed + RENEW_DEADLINE {
                tokio::time::sleep_until(renewed + RENEW_DEADLINE).await;
                return Lost::Expired(why);
            }
            // A failed renewal is tried again after a while, a note is written at once.
            let _ = timeout(RETRY, self.noted.notified()).await;
        }
    }

    /// Gives back what is held, so that another one need not wait.
    pub(crate) async fn give_back(&self) {
        let given = async {
            let Some(mut object) = self.read().await? else {
                return Ok(());
            };
            let spec = object.spec.get_or_insert_default();
            if spec.holder_identity.as_ref() == Some(&self.identity) {
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                self.write(&object).await?;
            }
            Ok::<_, ApiError>(())
        };
        if let Err(error) = given.await {
            tracing::warn!("the Lease is not given back, another one waits {DURATION:?}: {error}");
        }
    }

    /// Takes the Lease if it is free, ours, or of this expired version.
    async fn attempt(&self, expired: Option<&str>) -> Result<Try, ApiError> {
        let now = MicroTime(Timestamp::now());
        let Some(mut object) = self.read().await? else {
            return self.create(now).await;
        };
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        let spec = object.spec.get_or_insert_default();
        let holder = spec.holder_identity.clone().filter(|name| !name.is_empty());
        if holder.as_ref() != Some(&self.identity) {
            if let Some(holder) = holder
                && expired != Some(version.as_str())
            {
                return Ok(Try::Others { holder, version });
            }
            spec.holder_identity = Some(self.identity.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        }
        spec.lease_duration_seconds = Some(DURATION.as_secs() as i32);
        spec.renew_time = Some(now);
        let annotations = object.metadata.annotations.get_or_insert_default();
        let found = annotations.remove(NOTE).unwrap_or_default();
        let note = self.noted_so_far().clone().unwrap_or(found);
        if !note.is_empty() {
            annotations.insert(NOTE.to_owned(), note.clone());
        }
        self.write(&object).await?;
        self.noted_so_far().get_or_insert(note);
        Ok(Try::Held)
    }

    async fn create(&self, now: MicroTime) -> Result<Try, ApiError> {
        let object = Object {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(DURATION.as_secs() as i32),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        let made = async {
            self.api
                .create(&PostParams::default(), &object)
                .await
                .map(drop)
        };
        in_time("create", made).await.map(|()| Try::Held)
    }

    async fn read(&self) -> Result<Option<Object>, ApiError> {
        in_time("read", self.api.get_opt(LEASE)).await
    }

    async fn write(&self, object: &Object) -> Result<(), ApiError> {
        let written = async {
            self.api
                .replace(LEASE, &PostParams::default(), object)
                .await
                .map(drop)
        };
        in_time("write", written).await
    }
}

async fn in_time<T>(
    verb: &str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    ask_within(REQUEST, format!("{verb} the Lease {LEASE}"), request).await
}
