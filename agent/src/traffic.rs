//! The load generators: real traffic over real sockets inside the endpoints' namespaces.
//!
//! A test has a [`Client`], which makes requests and measures, and a [`Server`], which listens
//! and answers; `path_cost` is a client that owns both sockets, and
//! `http_rr` has a client alone. Sockets are opened on a thread
//! inside the endpoint's network namespace and keep it. The loops run on OS threads of their
//! own, there too, with blocking sockets: nothing is between a stamp and its system call. They
//! neither allocate nor lock, but for the few requests that are kept ([`slowest`]), and for a count of
//! datagrams that nobody else looks at meanwhile.
//!
//! One run: [`Server::listen`], [`Client::open`] (bound, so that its port is known, but silent),
//! [`Server::serve`] that flow alone, [`Client::start`] (connects, warms up). Then rounds over
//! that one connection: `begin` on both, [`Client::run`], `end` on both. Between rounds the
//! connection is idle. All of it can be ended at any moment by [`Stop::stop`].
//!
//! It knows nothing of runs, their states, the probe's life or the API; that is [`crate::runs`].

mod client;
mod clock;
mod cpu;
mod datagrams;
mod greeting;
pub(crate) mod header;
mod http;
mod interval;
mod path_cost;
mod plan;
mod reading;
mod recorder;
mod round;
mod rr;
mod server;
mod slowest;
mod socket;
mod stream;
mod tcp;

use std::{io, net::SocketAddr, sync::Arc};

use nettoll_core::{
    api::{UserStage, UserTimes},
    hop::{Direction, Side},
};

use self::recorder::Recorder;
pub(crate) use self::{
    client::Client,
    clock::{be_punctual, now_ns},
    http::{Resolver, Target},
    interval::{Interval, Sample},
    plan::{Plan, PlanError},
    server::Server,
    slowest::Slowest,
    socket::{Stop, open},
};

/// Why traffic could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrafficError {
    /// No socket at that address.
    #[error("cannot open a socket at {address}: {source}{}", hint(source))]
    Open {
        /// Where it should be.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The namespace or its thread.
    #[error(transparent)]
    Thread(io::Error),
    /// No connection.
    #[error("cannot connect from {from} to {to}: {source}; is the path open for this port?")]
    Connect {
        /// The client.
        from: SocketAddr,
        /// The server.
        to: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The backend's own program listens there.
    #[error(
        "{0} is where a program of the service's backend listens, so no test can: test that \
         program (url/http://…), or give the service a further port where nobody listens"
    )]
    Held(SocketAddr),
    /// The service's rules never chose the backend on which the test listens.
    #[error(
        "none of {attempts} connections to the service at {service} came to the backend {server} \
         ({last}); is the path open, and may the service choose that one (session affinity)?"
    )]
    OtherBackend {
        /// The service.
        service: SocketAddr,
        /// Where the test listens.
        server: SocketAddr,
        /// How many were tried.
        attempts: u32,
        /// How the last one ended.
        last: io::Error,
    },
    /// Where addresses may be translated, the server knows its client by the greeting alone.
    #[error("no client has greeted yet; prepare the client first")]
    Unknown,
    /// A request over HTTP without an answer.
    #[error("{0}: {1}")]
    Http(String, String),
    /// Datagrams go nowhere.
    #[error("no answer from {0} to {1} datagrams; is the path open for UDP on this port?")]
    NoAnswer(SocketAddr, u64),
    /// The rate is too low for the round.
    #[error(
        "a round of {0} s has room for fewer than two datagrams; take a higher rate, or longer"
    )]
    Sparse(f64),
    /// The connection failed in use.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// The peer did not answer or acknowledge in time.
    #[error("the traffic was not over {0} s after its time: the peer is silent")]
    Silent(u64),
    /// The peer answered something else.
    #[error("the peer's answer was not to the request; something else answers on this port")]
    WrongAnswer,
    /// The stacks could not be sampled.
    #[error("cannot sample stacks: {0}")]
    Sample(String),
    /// By [`Stop::stop`].
    #[error("the run was deleted meanwhile")]
    Stopped,
}

/// What to do about a socket that cannot be opened.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another run or process has this port, choose another one",
        io::ErrorKind::AddrNotAvailable => "; the endpoint has no such address any more",
        _ => "",
    }
}

/// A stage that a traffic thread sees one end of, and its times so far.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    stage: UserStage,
    side: Side,
    direction: Direction,
    times: Arc<Recorder>,
}

impl Seen {
    /// Nothing seen yet.
    pub(crate) fn new(stage: UserStage, side: Side, direction: Direction) -> Self {
        Self {
            stage,
            side,
            direction,
            times: Arc::new(Recorder::new()),
        }
    }

    /// Adds a time. To be called by one thread at a time.
    pub(crate) fn record(&self, ns: u64) {
        self.times.record(ns);
    }

    /// The times so far, as they travel.
    pub(crate) fn user_times(&self) -> UserTimes {
        let Self {
            stage,
            side,
            direction,
            times,
        } = self;
        UserTimes {
            stage: *stage,
            side: *side,
            direction: *direction,
            times: times.times(),
        }
    }
}
