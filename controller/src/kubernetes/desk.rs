//! Annotations → jobs → answers.
//!
//! Each request has a task of its own, from the first look at it to its answer; where two need a
//! node, one waits, and namespaces take turns. A request ends early when its pod or its target goes
//! away, or when its pod asks for something else. The state of a request is on its pod alone: the next leader
//! takes up what is `pending` or `running`.

mod answer;
mod attend;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use nettoll_core::{
    annotation::{
        OBSERVED, PREFIX, Policy, Refusal, Request, STATUS, Status, Usage, Usages, observed,
    },
    inventory::{Event, Role},
};
use tokio::sync::watch;

use self::attend::Attendance;
use super::{lease::Lease, live::Live, note::Subject};
use crate::jobs::Jobs;

/// Most requests of one namespace under way at once.
const MAX_OPEN: usize = 16;

/// Takes requests and answers them.
pub(crate) struct Desk {
    client: Client,
    /// Nettoll's own.
    namespace: String,
    live: Arc<Live>,
    jobs: Arc<Jobs>,
    /// Keeps what namespaces used, for the next leader.
    lease: Arc<Lease>,
    policy: RwLock<Policy>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last request of each pod, by UID.
    requests: HashMap<String, Entry>,
    usages: Usages,
    stopped: bool,
}

/// The last request of a pod.
struct Entry {
    namespace: String,
    observed: String,
    /// UID of the target pod, once it is known.
    target: Option<String>,
    /// Ends the task early; `None` when it has ended.
    end: Option<watch::Sender<Option<End>>>,
}

/// Why a request is not seen through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its pod goes away.
    SourceGone,
    /// The pod that it names goes away.
    TargetGone,
    /// Its pod asks for something else, or this instance ends.
    Dropped,
}

impl Entry {
    fn end(&self, why: End) {
        if let Some(end) = &self.end {
            end.send_replace(Some(why));
        }
    }
}

impl Desk {
    /// No request yet.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        live: Arc<Live>,
        jobs: Arc<Jobs>,
        lease: Arc<Lease>,
        policy: Policy,
    ) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            live,
            jobs,
            policy: RwLock::new(policy),
            state: Mutex::new(State {
                usages: Usages::of_text(&lease.note()),
                ..State::default()
            }),
            lease,
        }
    }

    /// Whether the end of this pod matters although it may be missed. The end of a target that
    /// is missed makes its test fail.
    pub(crate) fn concerns(pod: &ObjectMeta) -> bool {
        let mut annotations = pod.annotations.iter().flatten();
        annotations.any(|(key, _)| key.starts_with(PREFIX))
    }

    /// A pod is there, or has changed.
    pub(crate) fn see(self: &Arc<Self>, pod: ObjectMeta) {
        let ObjectMeta {
            uid: Some(uid),
            name: Some(name),
            namespace: Some(namespace),
            annotations,
            deletion_timestamp,
            ..
        } = pod
        else {
            return;
        };
        if deletion_timestamp.is_some() {
            self.gone(&uid);
            return;
        }
        let annotations = annotations.unwrap_or_default();
        let request = Request::of(&annotations, self.policy().max_seconds);
        let observed = observed(&annotations);
        let mut state = self.state();
        let known = state.requests.get(&uid);
        if known.is_some_and(|entry| request.is_some() && entry.observed == observed) {
            return;
        }
        self.remove(&mut state, &uid, End::Dropped);
        let Some(request) = request else {
            return;
        };
        if state.stopped {
            return;
        }
        let status = annotations.get(STATUS).and_then(|text| Status::of(text));
        let answered =
            annotations.get(OBSERVED) == Some(&observed) && status.is_some_and(Status::is_final);
        let mut entry = Entry {
            namespace: namespace.clone(),
            observed: observed.clone(),
            target: None,
            end: None,
        };
        if !answered {
            let (end, ended) = watch::channel(None);
            entry.end = Some(end);
            let open = |other: &&Entry| other.end.is_some() && other.namespace == namespace;
            let crowded = state.requests.values().filter(open).count() >= MAX_OPEN;
            let attendance = Attendance {
                desk: Arc::clone(self),
                subject: Subject {
                    namespace,
                    name,
                    uid: uid.clone(),
                },
                observed,
                crowded,
            };
            tokio::spawn(attendance.attend(request, ended));
        }
        state.requests.insert(uid, entry);
    }

    /// A pod is gone, or about to go.
    pub(crate) fn gone(&self, uid: &str) {
        let mut state = self.state();
        self.remove(&mut state, uid, End::SourceGone);
        let entries = state.requests.values();
        entries
            .filter(|entry| entry.target.as_deref() == Some(uid))
            .for_each(|entry| entry.end(End::TargetGone));
    }

    /// Decides by another policy from now on.
    pub(crate) fn allow(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    fn policy(&self) -> Policy {
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner);
        policy.clone()
    }

    /// A request of this namespace begins, if that is within its limits.
    fn charge(&self, namespace: &str, request: &Request) -> Result<(), Refusal> {
        let (policy, now) = (self.policy(), now_seconds());
        let mut state = self.state();
        policy.limit(namespace, request, state.usages.of(namespace, now))?;
        state.usages.add(namespace, Usage::of(request), now);
        self.lease.set_note(state.usages.to_text());
        Ok(())
    }

    /// Nothing more is taken or written.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        for entry in state.requests.values() {
            entry.end(End::Dropped);
        }
    }

    /// The pod that a request goes to.
    fn set_target(&self, source: &str, observed: &str, target: &str) {
        let mut state = self.state();
        let entry = state.requests.get_mut(source);
        if let Some(entry) = entry.filter(|entry| entry.observed == observed) {
            entry.target = Some(target.to_owned());
        }
    }

    /// A request has ended.
    fn closed(&self, source: &str, observed: &str) {
        let mut state = self.state();
        let entry = state.requests.get_mut(source);
        if let Some(entry) = entry.filter(|entry| entry.observed == observed) {
            entry.end = None;
            let target = entry.target.take();
            self.forget(&state, target);
        }
    }

    fn remove(&self, state: &mut State, source: &str, why: End) {
        if let Some(entry) = state.requests.remove(source) {
            entry.end(why);
            self.forget(state, entry.target);
        }
    }

    /// Forgets a target that no request needs any more; nobody else watches it.
    fn forget(&self, state: &State, target: Option<String>) {
        let mut entries = state.requests.values();
        let Some(uid) =
            target.filter(|target| entries.all(|entry| entry.target.as_ref() != Some(target)))
        else {
            return;
        };
        let role = self.live.cluster().pod(&uid).map(|pod| pod.role);
        if role == Some(Role::Other) {
            self.live.apply(Event::PodGone { uid });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unix time.
fn now_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
