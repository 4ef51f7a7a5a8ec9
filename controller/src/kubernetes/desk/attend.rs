//! One request, from the first look at it to its answer.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, core::PartialObjectMeta};
use nettoll_core::{
    annotation::{Answer, Decision, Refusal, Request, Status, TestAnswer, Usage, backend, decide},
    api::{InventoryService, JobEvent},
    endpoint::Endpoint,
    inventory::{Event, PodFacts},
    report::TestType,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    super::{
        client::{ApiError, ask},
        facts, lookup,
        note::{Mood, Subject},
        services,
    },
    Desk, End, answer,
};
use crate::jobs::{Hold, brief};

/// How long pods and agents are waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Before a failed test is tried again.
const BREATH: Duration = Duration::from_secs(3);
/// After its first failure a test is tried again for so long: what an agent takes to start anew.
const SECOND_CHANCE: Duration = Duration::from_secs(20);

/// A request under way.
pub(super) struct Attendance {
    pub(super) desk: Arc<Desk>,
    pub(super) subject: Subject,
    pub(super) observed: String,
    /// Its namespace has too many others.
    pub(super) crowded: bool,
}

/// What came of a request.
enum Verdict {
    Done(Vec<TestAnswer>),
    Failed(Vec<TestAnswer>, String),
    Refused(Refusal),
    /// Its pod is not there any more.
    Gone,
}

/// What stands in the way of a request.
enum Standing {
    Ready(Box<Ends>),
    Wait(String),
    Refused(Refusal),
    Gone,
}

/// Both ends of a path, as far as they are pods.
struct Ends {
    source: PodFacts,
    /// Of a service the backend.
    target: Option<PodFacts>,
    service: Option<InventoryService>,
}

/// Why a test has no result.
struct Failure {
    message: String,
    /// It would fail again.
    lasting: bool,
}

impl Failure {
    fn passing(message: &impl ToString) -> Self {
        Self {
            message: message.to_string(),
            lasting: false,
        }
    }
}

impl Ends {
    /// The nodes that a test between them needs.
    fn nodes(&self, to: &Endpoint) -> BTreeSet<String> {
        let of_pods = [Some(&self.source), self.target.as_ref()];
        let of_pods = of_pods.into_iter().flatten().flat_map(|pod| &pod.node);
        let named = match to {
            Endpoint::Node(name) => Some(name),
            _ => None,
        };
        of_pods.chain(named).cloned().collect()
    }
}

/// A request's turn: nothing stands in its way, and its nodes are its own.
struct Turn {
    ends: Ends,
    hold: Arc<Hold>,
}

impl Attendance {
    /// Sees the request through, unless it ends early.
    pub(super) async fn attend(
        self,
        request: Result<Request, Refusal>,
        mut end: watch::Receiver<Option<End>>,
    ) {
        let verdict = tokio::select! {
            biased;
            why = ended(&mut end) => match why {
                End::SourceGone => Verdict::Gone,
                End::TargetGone => {
                    let target = request.as_ref().map(|request| request.to.to_string());
                    let target = target.unwrap_or_default();
                    Verdict::Failed(vec![], format!("{target} was deleted"))
                }
                End::Dropped => return,
            },
            verdict = self.measured(&request) => verdict,
        };
        // An answer that is being written is not given up for a pod that goes away; it is for
        // one that asks for something else.
        tokio::select! {
            () = self.conclude(verdict) => {}
            () = dropped(&mut end) => return,
        }
        self.desk.closed(&self.subject.uid, &self.observed);
    }

    async fn measured(&self, request: &Result<Request, Refusal>) -> Verdict {
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return Verdict::Refused(refusal.clone()),
        };
        match self.try_measured(request).await {
            Ok(results) => Verdict::Done(results),
            Err(verdict) => verdict,
        }
    }

    async fn try_measured(&self, request: &Request) -> Result<Vec<TestAnswer>, Verdict> {
        if self.crowded {
            return Err(Verdict::Failed(
                vec![],
                format!(
                    "{} requests of namespace {} are under way, no more are taken; set {} to \
                     another value later",
                    super::MAX_OPEN,
                    self.subject.namespace,
                    nettoll_core::annotation::RUN
                ),
            ));
        }
        let mut turn = self.turn(request, true, &mut false).await?;
        let namespace = &self.subject.namespace;
        self.desk
            .charge(namespace, request)
            .map_err(Verdict::Refused)?;
        self.tell(Status::Running, vec![]).await;
        let mut results = Vec::new();
        for &test in &request.tests {
            match self.tested(request, test, turn).await {
                Ok((result, kept)) => {
                    results.push(result);
                    turn = kept;
                }
                Err(Verdict::Failed(_, reason)) => {
                    return Err(Verdict::Failed(results, format!("{test}: {reason}")));
                }
                Err(verdict) => return Err(verdict),
            }
        }
        Ok(results)
    }

    /// Waits until nothing stands in the way and the nodes are this request's own. One that may
    /// not run at all is not queued.
    async fn turn(
        &self,
        request: &Request,
        counted: bool,
        told: &mut bool,
    ) -> Result<Turn, Verdict> {
        loop {
            let ends = self.ready(request, counted, told).await?;
            self.tell_pending(told).await;
            let nodes = ends.nodes(&request.to);
            let asker = &self.subject.namespace;
            let hold = self.desk.jobs.reserve(asker, nodes.clone()).await;
            // Much may have changed meanwhile.
            match self.standing(request, self.used(counted)).await {
                Standing::Ready(ends) if ends.nodes(&request.to) == nodes => {
                    return Ok(Turn { ends: *ends, hold });
                }
                Standing::Ready(_) | Standing::Wait(_) => {}
                Standing::Refused(refusal) => return Err(Verdict::Refused(refusal)),
                Standing::Gone => return Err(Verdict::Gone),
            }
        }
    }

    /// One test, and the turn for the next one. Where it fails it is tried again, with another
    /// turn: an agent may have been restarted.
    async fn tested(
        &self,
        request: &Request,
        test: TestType,
        mut turn: Turn,
    ) -> Result<(TestAnswer, Turn), Verdict> {
        let Subject {
            namespace, name, ..
        } = &self.subject;
        let mut until = None;
        loop {
            let Failure { message, lasting } = match self.run(request, test, &turn).await {
                Ok(result) => return Ok((result, turn)),
                Err(failure) => failure,
            };
            let until = *until.get_or_insert(Instant::now() + SECOND_CHANCE);
            if lasting || Instant::now() >= until {
                return Err(Verdict::Failed(vec![], message));
            }
            tracing::warn!("pod {namespace}/{name}: {test} is tried again: {message}");
            drop(turn);
            sleep(BREATH).await;
            turn = self.turn(request, false, &mut true).await?;
        }
    }

    async fn run(
        &self,
        request: &Request,
        test: TestType,
        Turn { ends, hold }: &Turn,
    ) -> Result<TestAnswer, Failure> {
        let from = ends.source.endpoint();
        let job = brief(&from, &request.to, test, request.seconds);
        let pods: Vec<_> = [Some(&ends.source), ends.target.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        let known = self.desk.live.with(&pods, ends.service.as_slice());
        let jobs = Arc::clone(&self.desk.jobs);
        let mut events = jobs
            .submit_on(hold, job, known)
            .map_err(|error| Failure::passing(&error))?;
        while let Some(event) = events.recv().await {
            match event {
                JobEvent::Done(result) => {
                    let report = &result.report;
                    let mut runs = report.runs.iter();
                    let run = runs.find(|run| run.path.from == from && run.path.to == request.to);
                    return run
                        .map(|run| TestAnswer::of(run, &report.tolls))
                        .ok_or_else(|| Failure::passing(&"the report has no such run"));
                }
                JobEvent::Failed { message, lasting } => return Err(Failure { message, lasting }),
                JobEvent::Planned { .. } | JobEvent::Progress { .. } | JobEvent::Warning { .. } => {
                }
            }
        }
        let ended = "the job ended without a result; see the controller's log";
        Err(Failure::passing(&ended))
    }

    /// Waits until nothing stands in the way.
    async fn ready(
        &self,
        request: &Request,
        counted: bool,
        told: &mut bool,
    ) -> Result<Ends, Verdict> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.standing(request, self.used(counted)).await {
                Standing::Ready(ends) => return Ok(*ends),
                Standing::Wait(reason) if Instant::now() >= until => {
                    let why = format!("{reason}; waited {} s", PATIENCE.as_secs());
                    return Err(Verdict::Failed(vec![], why));
                }
                Standing::Wait(_) => self.tell_pending(told).await,
                Standing::Refused(refusal) => return Err(Verdict::Refused(refusal)),
                Standing::Gone => return Err(Verdict::Gone),
            }
            sleep(LOOK).await;
        }
    }

    /// What the namespace used, where that matters.
    fn used(&self, counted: bool) -> Usage {
        if !counted {
            return Usage::default();
        }
        let usages = &self.desk.state().usages;
        usages.of(&self.subject.namespace, super::now_seconds())
    }

    async fn standing(&self, request: &Request, used: Usage) -> Standing {
        match self.look(request, used).await {
            Ok(standing) => standing,
            Err(error) => Standing::Wait(error.to_string()),
        }
    }

    /// Looks at both namespaces and pods, as they are at the API server.
    async fn look(&self, request: &Request, used: Usage) -> Result<Standing, ApiError> {
        let live = &self.desk.live;
        let Subject {
            namespace,
            name,
            uid,
        } = &self.subject;
        self.look_at_namespace(namespace).await?;
        let source = self.pod(namespace, name).await?;
        let Some(source) = source.filter(|source| source.uid == *uid && !source.gone) else {
            return Ok(Standing::Gone);
        };
        if let Some(namespace) = request.to.namespace() {
            self.look_at_namespace(namespace).await?;
        }
        let policy = self.desk.policy();
        let decide = |request: &Request| {
            let cluster = live.cluster();
            decide(request, &source, &cluster, &policy, used)
        };
        // Of the target nothing is asked before it is known to be allowed.
        let mut decision = decide(request);
        let (mut target, mut service) = (None, None);
        let mut request = request.clone();
        if let Some((namespace, name)) = request.to.service().and_then(|(it, _)| it.object())
            && !matches!(decision, Decision::Refuse(_))
        {
            service = services::read(&self.desk.client, namespace, name).await?;
            match backend(&request, &source, service.as_ref(), &live.cluster()) {
                // From here on it is as if that pod had been named.
                Ok(to) => request.to = to,
                Err(instead) => decision = instead,
            }
        }
        if let Endpoint::Pod { namespace, name } = &request.to
            && !matches!(decision, Decision::Refuse(_))
        {
            target = self.pod(namespace, name).await?;
            let outdated = live
                .cluster()
                .pod_named(namespace, name)
                .map(|pod| pod.uid.clone())
                .filter(|uid| target.as_ref().is_none_or(|target| target.uid != *uid));
            if let Some(uid) = outdated {
                live.apply(Event::PodGone { uid });
            }
            if let Some(target) = &target {
                self.desk.set_target(uid, &self.observed, &target.uid);
                live.apply(Event::Pod(target.clone()));
            }
            decision = decide(&request);
        }
        Ok(match decision {
            Decision::Run => Standing::Ready(Box::new(Ends {
                source,
                target,
                service,
            })),
            Decision::Wait(reason) => Standing::Wait(reason),
            Decision::Refuse(refusal) => Standing::Refused(refusal),
        })
    }

    async fn look_at_namespace(&self, name: &str) -> Result<(), ApiError> {
        let api = Api::<PartialObjectMeta<Namespace>>::all(self.desk.client.clone());
        let found = ask(format!("read namespace {name}"), api.get_opt(name)).await?;
        self.desk.live.apply(found.map_or_else(
            || Event::NamespaceGone(name.to_owned()),
            |found| facts::namespace(&found),
        ));
        Ok(())
    }

    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<PodFacts>, ApiError> {
        lookup::pod(&self.desk.client, &self.desk.namespace, namespace, name).await
    }

    async fn tell_pending(&self, told: &mut bool) {
        if !*told {
            self.tell(Status::Pending, vec![]).await;
            *told = true;
        }
    }

    async fn tell(&self, status: Status, results: Vec<TestAnswer>) -> bool {
        let answer = Answer {
            status,
            observed: self.observed.clone(),
            results,
        };
        answer::write(&self.desk.client, &self.subject, &answer).await
    }

    /// Writes what came of it.
    async fn conclude(&self, verdict: Verdict) {
        let (status, results, mood, reason, words) = match verdict {
            Verdict::Done(results) => {
                let words: Vec<_> = results.iter().map(TestAnswer::sentence).collect();
                let words = words.join("; ");
                (Status::Done, results, Mood::Normal, "NettollDone", words)
            }
            Verdict::Failed(results, why) => {
                let mood = Mood::Warning;
                (Status::Failed, results, mood, "NettollFailed", why)
            }
            Verdict::Refused(refusal) => {
                let (mood, why) = (Mood::Warning, refusal.to_string());
                (Status::Refused, vec![], mood, "NettollRefused", why)
            }
            Verdict::Gone => {
                let why = "the pod was deleted before its tests ended".to_owned();
                let (client, mood) = (&self.desk.client, Mood::Warning);
                answer::note(client, &self.subject, mood, "NettollFailed", &why).await;
                return;
            }
        };
        // The Event first: a leader that ends in between leaves a request to its successor, who
        // takes up what is not answered. The other way round nobody would write the Event.
        answer::note(&self.desk.client, &self.subject, mood, reason, &words).await;
        self.tell(status, results).await;
    }
}

async fn ended(end: &mut watch::Receiver<Option<End>>) -> End {
    match end.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(why)) => *why,
        // The desk is gone, or has forgotten this request.
        Ok(None) | Err(_) => End::Dropped,
    }
}

/// Waits until the request is dropped, for ever where it ended for another reason.
async fn dropped(end: &mut watch::Receiver<Option<End>>) {
    if end
        .wait_for(|end| *end == Some(End::Dropped))
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
}
