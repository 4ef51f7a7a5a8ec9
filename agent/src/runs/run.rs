//! One run on this agent: its sockets, its state, and what was measured so far.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use nettoll_core::{
    api::{Flow, RoundSide, RoundSpec, RunSpec},
    report::{Http, Tcp},
};

use super::{
    RunError,
    instruments::{Observation, lock},
};
use crate::{
    probe::Stamps,
    traffic::{Client, Interval, Sample, Seen, Server, Slowest, Stop},
};

/// Where a run stands.
#[derive(Debug, PartialEq)]
pub(super) enum Phase {
    /// The sockets are open; the client is not connected, the server knows no flow.
    Prepared,
    /// Between rounds.
    Ready,
    /// In a round, before its traffic (client) or until its end (server).
    Open(RoundSpec),
    /// In a round, after its traffic.
    Ran(Box<RoundSide>),
    /// What was counted was handed out.
    Finished,
    /// Its sockets are closed.
    Deleted,
}

impl Phase {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Prepared => "prepared, but has neither flow nor start yet",
            Self::Ready => "between rounds",
            Self::Open(_) => "in a round",
            Self::Ran(_) => "at a round's end",
            Self::Finished => "finished",
            Self::Deleted => "deleted",
        }
    }
}

/// What an agent keeps of a run. Whoever wants several of the locks takes `traffic` first.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) spec: RunSpec,
    /// Ends the traffic without waiting for the lock.
    pub(super) stop: Stop,
    /// Held while a round runs.
    pub(super) traffic: Mutex<Traffic>,
    /// Never held for long.
    pub(super) observation: Mutex<Observation>,
    pub(super) seen: Vec<Seen>,
    /// Of the client and of the server, those that are here.
    pub(super) slowest: Vec<Slowest>,
    visitors: AtomicU32,
    last_visit: Mutex<Instant>,
}

/// The run's own half: sockets and state.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) phase: Phase,
    pub(super) client: Option<Client>,
    pub(super) server: Option<Server>,
    /// From the sockets that are here, and as told of the others.
    pub(super) flow: Option<Flow>,
}

impl Run {
    pub(super) fn new(spec: RunSpec, stop: Stop, traffic: Traffic) -> Self {
        let mut seen: Vec<Seen> = traffic
            .client
            .iter()
            .flat_map(|client| client.seen().iter().cloned())
            .collect();
        seen.extend(traffic.server.iter().flat_map(Server::seen));
        let of_client = traffic.client.as_ref().and_then(Client::slowest);
        let of_server = traffic.server.as_ref().and_then(Server::slowest);
        Self {
            slowest: of_client.into_iter().chain(of_server).cloned().collect(),
            spec,
            stop,
            traffic: Mutex::new(traffic),
            observation: Mutex::default(),
            seen,
            visitors: AtomicU32::new(0),
            last_visit: Mutex::new(Instant::now()),
        }
    }

    /// Somebody speaks of the run until the guard is dropped.
    pub(super) fn visit(&self) -> Visit<'_> {
        self.visitors.fetch_add(1, Ordering::AcqRel);
        Visit(self)
    }

    /// Nobody has spoken of it for that long.
    pub(super) fn idle_for(&self, time: Duration) -> bool {
        self.visitors.load(Ordering::Acquire) == 0 && lock(&self.last_visit).elapsed() >= time
    }

    /// That it cannot do that in its phase.
    pub(super) fn refuse(&self, traffic: &Traffic, what: &'static str) -> RunError {
        RunError::State {
            id: self.spec.id.clone(),
            what,
            state: traffic.phase.as_str(),
        }
    }

    /// That its role does not do that.
    pub(super) fn not_mine(&self, what: &'static str) -> RunError {
        RunError::NotMine {
            id: self.spec.id.clone(),
            role: self.spec.role,
            what,
        }
    }
}

impl Traffic {
    /// TCP's own counters of the sender, if it is here.
    pub(super) fn tcp(&self) -> Option<Tcp> {
        let of_client = self.client.as_ref().and_then(Client::tcp);
        of_client.or_else(|| self.server.as_ref().and_then(Server::tcp))
    }

    /// What answered the client's requests over HTTP, if it makes such.
    pub(super) fn http(&self) -> Option<Http> {
        self.client.as_ref().and_then(Client::http)
    }

    /// A round's first mark on both ends that are here. Where both are, the client's figures
    /// are the round's.
    pub(super) fn begin(&mut self, stamps: Option<Stamps>, sample: Option<Sample>) {
        let mut interval = Interval::new(sample);
        if let Some(client) = &mut self.client {
            client.begin(stamps.clone(), std::mem::take(&mut interval));
        }
        if let Some(server) = &mut self.server {
            server.begin(stamps, interval);
        }
    }

    /// The round's last mark.
    pub(super) fn end(&mut self, ran: Option<RoundSide>) -> RoundSide {
        let server = self.server.as_mut().map(Server::end);
        if let Some(client) = &mut self.client {
            client.end();
            let mut side = ran.unwrap_or_else(|| RoundSide {
                invalid_reason: Some("the round ended before its traffic".to_owned()),
                ..RoundSide::default()
            });
            if let Some(server) = server.filter(|server| server.arrived.is_some()) {
                side.arrived = server.arrived;
                side.invalid_reason = side.invalid_reason.or(server.invalid_reason);
            }
            return side;
        }
        server.unwrap_or_default()
    }
}

/// While it lives the run is not idle.
#[derive(Debug)]
pub(super) struct Visit<'a>(&'a Run);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        *lock(&self.0.last_visit) = Instant::now();
        self.0.visitors.fetch_sub(1, Ordering::AcqRel);
    }
}
