//! The side that listens and answers, on a thread of its own from the flow to the end.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nettoll_core::{
    api::{FlowTuple, Protocol, RoundSide, UserStage},
    hop::{Direction, Side},
    report::{Tcp, TestType},
};
use socket2::Socket;

use super::{
    Interval, Plan, Seen, Slowest, Stop, TrafficError,
    clock::now_ns,
    datagrams::{self, Inbox},
    greeting,
    reading::Reading,
    rr, socket, stream,
    tcp::{Retransmits, TcpInfo, unacknowledged},
};
use crate::{
    netns::{Inside, Netns},
    probe::Stamps,
};

/// How long the end of a stream's round waits for what is under way.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const SETTLE_INTERVAL: Duration = Duration::from_micros(100);

/// A round is open.
const OPEN: u64 = 1;
/// The probe is attached in it.
const PROBED: u64 = 2;
/// The rounds' numbers.
const NUMBER: u64 = 4;

/// What the thread shares with its owner. The counters have one writer, the thread.
#[derive(Debug)]
pub(super) struct Shared {
    /// `NUMBER`, `OPEN` and `PROBED`; written by the owner while the connection is idle.
    round: AtomicU64,
    /// The flow's, from the first round with the probe on.
    stamps: OnceLock<Stamps>,
    interval: Mutex<Interval>,
    /// Why the thread ended.
    failure: OnceLock<String>,
    connection: OnceLock<Arc<Socket>>,
    /// Who greeted by way of a service, as seen here.
    greeted: OnceLock<SocketAddr>,
    /// Requests answered since the start.
    pub(super) transactions: AtomicU64,
    /// Bytes of a stream since the start.
    pub(super) received: AtomicU64,
    /// The same, but only of what was measured.
    pub(super) bytes: AtomicU64,
    /// When the measured part of a stream's round began; 0 in a round without one.
    first_ns: AtomicU64,
    /// When the last bytes of a stream's round came.
    pub(super) last_ns: AtomicU64,
    /// Of `udp_stream`.
    pub(super) inbox: Inbox,
    /// Of `tcp_stream`.
    pub(super) socket_rx: Seen,
    /// Of RR tests.
    pub(super) reading: Reading,
    pub(super) responder: Seen,
    pub(super) slowest: Slowest,
}

impl Shared {
    fn new() -> Self {
        Self {
            round: AtomicU64::new(0),
            stamps: OnceLock::new(),
            interval: Mutex::default(),
            failure: OnceLock::new(),
            connection: OnceLock::new(),
            greeted: OnceLock::new(),
            transactions: AtomicU64::new(0),
            received: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            first_ns: AtomicU64::new(0),
            last_ns: AtomicU64::new(0),
            inbox: Inbox::default(),
            socket_rx: Seen::new(UserStage::SocketRx, Side::Server, Direction::Request),
            reading: Reading::new(Side::Server, Direction::Request),
            responder: Seen::new(UserStage::Responder, Side::Server, Direction::Response),
            slowest: Slowest::new(Side::Server),
        }
    }

    /// The number of the open round.
    #[inline]
    pub(super) fn open_round(&self) -> Option<u64> {
        let round = self.round.load(Ordering::Acquire);
        (round & OPEN != 0).then_some(round)
    }

    /// The flow's stamps, in an open round with the probe.
    #[inline]
    pub(super) fn stamps(&self) -> Option<&Stamps> {
        let round = self.round.load(Ordering::Acquire);
        if round & (OPEN | PROBED) == OPEN | PROBED {
            self.stamps.get()
        } else {
            None
        }
    }

    /// The measured part of a stream's round begins.
    pub(super) fn begin_measuring(&self, marks: bool) {
        self.begin_interval();
        if let Some(stamps) = self.stamps().filter(|_| marks) {
            stamps.mark(true);
        }
        let now = now_ns();
        self.last_ns.store(now, Ordering::Relaxed);
        self.first_ns.store(now, Ordering::Relaxed);
    }

    /// It is over at this time, but what is under way still counts for the probe.
    pub(super) fn end_measuring(&self, now_ns: u64) {
        self.last_ns.store(now_ns, Ordering::Relaxed);
        self.interval().end();
    }

    fn begin_interval(&self) {
        if let Err(error) = self.interval().begin() {
            tracing::warn!(%error, "the server's figures are without");
        }
    }

    fn interval(&self) -> MutexGuard<'_, Interval> {
        lock(&self.interval)
    }
}

/// Locks whatever a panicking thread left behind.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server with its socket.
#[derive(Debug)]
pub(crate) struct Server {
    plan: Plan,
    netns: Netns,
    stop: Stop,
    socket: Arc<Socket>,
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<Inside<()>>,
    /// At the round's beginning: when, and how many requests and bytes.
    began: Option<(Instant, u64, u64)>,
    retransmits: Retransmits,
}

impl Server {
    /// Opens the server's socket. It does not answer yet, but for the greeting of a client
    /// where addresses may be translated.
    pub(crate) fn listen(netns: &Netns, plan: &Plan, stop: &Stop) -> Result<Self, TrafficError> {
        let open = |source| TrafficError::Open {
            address: plan.server,
            source,
        };
        let socket = socket::open(netns, plan.protocol(), plan.server, plan.mss);
        let socket = socket.map_err(|error| match error {
            TrafficError::Open { address, source }
                if plan.service.is_some() && source.kind() == io::ErrorKind::AddrInUse =>
            {
                TrafficError::Held(address)
            }
            error => error,
        })?;
        match plan.protocol() {
            Protocol::Tcp => socket::listen(&socket).map_err(open)?,
            // Not on a thread inside the namespace: those hold no capability.
            Protocol::Udp if plan.test.is_stream() => {
                datagrams::make_room(&socket).map_err(open)?;
            }
            Protocol::Udp => {}
        }
        let mut server = Self {
            plan: *plan,
            netns: netns.clone(),
            stop: stop.clone(),
            address: socket::local_address(&socket).map_err(open)?,
            socket: stop.watch(socket),
            shared: Arc::new(Shared::new()),
            thread: None,
            began: None,
            retransmits: Retransmits::default(),
        };
        if plan.greets {
            server.answer(None)?;
        }
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The stages whose ends it sees.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let Shared {
            socket_rx,
            reading,
            responder,
            ..
        } = &*self.shared;
        match self.plan.test {
            TestType::TcpStream => vec![socket_rx.clone()],
            // Those of the client's way, and of a stream of datagrams nobody knows which of them a call
            // took.
            test if test.is_stream() => Vec::new(),
            _ => [reading.seen(), vec![responder.clone()]].concat(),
        }
    }

    /// What it keeps of the slowest requests, of RR tests.
    pub(crate) fn slowest(&self) -> Option<&Slowest> {
        (!self.plan.test.is_stream()).then_some(&self.shared.slowest)
    }

    /// Answers the client's flow from now on, and nobody else: the flow as it is here. Where
    /// addresses may be translated the client is known by its greeting, and may be another one than it
    /// is to itself.
    pub(crate) fn serve(&mut self, flow: &FlowTuple) -> Result<FlowTuple, TrafficError> {
        if !self.plan.greets {
            self.answer(Some(flow.client))?;
            return Ok(*flow);
        }
        let greeted = self.shared.greeted.get();
        Ok(FlowTuple {
            protocol: flow.protocol,
            client: *greeted.ok_or(TrafficError::Unknown)?,
            server: self.address,
        })
    }

    /// Answers this client, or the one who greets with the run's header.
    fn answer(&mut self, client: Option<SocketAddr>) -> Result<(), TrafficError> {
        let plan = self.plan;
        let (socket, shared, stop) = (
            Arc::clone(&self.socket),
            Arc::clone(&self.shared),
            self.stop.clone(),
        );
        let serve = move || {
            let connect = || match client {
                Some(client) => socket.connect(&client.into()),
                None => greeting::accept_datagrams(&socket, plan.run, &shared.greeted, &stop),
            };
            let accept = || match client {
                Some(client) => accept(&socket, client, &stop),
                None => greeting::accept(&socket, plan.run, &shared.greeted, &stop),
            };
            let served = match plan.test {
                TestType::UdpStream => {
                    connect().and_then(|()| datagrams::receive(&socket, &shared, &plan, &stop))
                }
                TestType::UdpRr => connect().and_then(|()| {
                    let transport = rr::UdpTransport {
                        socket: Arc::clone(&socket),
                        stop: stop.clone(),
                    };
                    rr::serve(&transport, &shared, &plan)
                }),
                test => accept().and_then(|connection| {
                    shared.connection.get_or_init(|| Arc::clone(&connection));
                    match test {
                        TestType::TcpStream => stream::receive(&connection, &shared, &plan),
                        TestType::TcpReverse => stream::send(&connection, &shared, &plan),
                        _ => {
                            connection.set_tcp_nodelay(true)?;
                            rr::serve(&rr::TcpTransport(connection), &shared, &plan)
                        }
                    }
                }),
            };
            let why = match served {
                Ok(()) => "the client closed the connection".to_owned(),
                Err(error) => error.to_string(),
            };
            if !stop.stopped() {
                tracing::debug!(why, "a server ends");
            }
            shared.failure.get_or_init(|| why);
        };
        let thread = self.netns.on_thread("nettoll-server", serve);
        self.thread = Some(thread.map_err(TrafficError::Thread)?);
        Ok(())
    }

    /// A round follows: its first mark.
    pub(crate) fn begin(&mut self, stamps: Option<Stamps>, interval: Interval) {
        let shared = &self.shared;
        *shared.interval() = interval;
        shared.first_ns.store(0, Ordering::Relaxed);
        shared.inbox.clear(&self.socket);
        let connection = shared.connection.get().map(AsRef::as_ref);
        self.retransmits.begin(connection, stamps.is_some());
        let probed = if stamps.is_some() { PROBED } else { 0 };
        if let Some(stamps) = stamps {
            shared.stamps.get_or_init(|| stamps);
        }
        let requests = shared.transactions.load(Ordering::Acquire);
        self.began = Some((
            Instant::now(),
            requests,
            shared.bytes.load(Ordering::Acquire),
        ));
        let number = (shared.round.load(Ordering::Relaxed) / NUMBER + 1) * NUMBER;
        shared
            .round
            .store(number | OPEN | probed, Ordering::Release);
        // A stream's server begins to measure by itself, after the warm-up.
        if !self.plan.test.is_stream() {
            shared.begin_interval();
            if let Some(stamps) = shared.stamps().filter(|_| self.plan.server_marks) {
                stamps.mark(true);
            }
        }
    }

    /// The round's last mark. The connection is idle: the client has all its answers or
    /// acknowledgements.
    pub(crate) fn end(&mut self) -> RoundSide {
        let mut invalid_reason = match self.plan.test {
            TestType::UdpStream => {
                // What is waited for now is no part of it.
                self.shared.interval().end();
                let ended = || self.shared.failure.get().is_some() || self.stop.ended();
                self.shared.inbox.quiet(&self.socket, ended)
            }
            _ => self.settle(),
        };
        let shared = &self.shared;
        self.retransmits
            .end(shared.connection.get().map(AsRef::as_ref));
        shared.interval().end();
        if let Some(stamps) = shared.stamps().filter(|_| self.plan.server_marks) {
            stamps.mark(false);
        }
        let number = shared.round.load(Ordering::Relaxed) / NUMBER * NUMBER;
        shared.round.store(number, Ordering::Release);
        let Some((began, requests, bytes)) = self.began.take() else {
            return RoundSide::default();
        };
        if let Some(why) = shared.failure.get() {
            invalid_reason.get_or_insert_with(|| format!("the server ended: {why}"));
        }
        let transactions = shared.transactions.load(Ordering::Acquire) - requests;
        let arrived =
            (self.plan.test == TestType::UdpStream).then(|| shared.inbox.arrived(&self.socket));
        let (seconds, bytes) = if let Some(arrived) = &arrived {
            if arrived.datagrams == 0 {
                invalid_reason.get_or_insert_with(|| "no datagram arrived".to_owned());
            }
            (arrived.seconds, arrived.bytes)
        } else if self.plan.test.is_stream() {
            let first = shared.first_ns.load(Ordering::Relaxed);
            let last = shared.last_ns.load(Ordering::Relaxed);
            let ns = if first == 0 {
                0
            } else {
                last.saturating_sub(first)
            };
            (
                ns as f64 / 1e9,
                shared.bytes.load(Ordering::Acquire) - bytes,
            )
        } else {
            let bytes = transactions * self.plan.request_bytes as u64;
            (began.elapsed().as_secs_f64(), bytes)
        };
        let used = shared.interval().used();
        RoundSide {
            seconds,
            bytes,
            transactions,
            lost: 0,
            sent: None,
            arrived,
            rtt: None,
            cpu_busy_seconds: used.map(|used| used.busy_seconds),
            cpu_tasks_seconds: used.map(|used| used.tasks_seconds),
            cpu_own_seconds: used.map(|used| used.own_seconds),
            cpu_steal_seconds: used.map(|used| used.steal_seconds),
            invalid_reason,
            disturbed: used.and_then(|used| used.disturbance(seconds)),
        }
    }

    /// Waits until nothing of a stream is under way: the thread has read all that the kernel has
    /// acknowledged for it, or all that it sent is acknowledged. Says what went wrong.
    fn settle(&self) -> Option<String> {
        let connection = self.shared.connection.get()?;
        let (settled, told): (&dyn Fn() -> io::Result<bool>, _) = match self.plan.test {
            TestType::TcpStream => (
                &|| self.has_read_all(connection),
                "the server did not read what had arrived",
            ),
            TestType::TcpReverse => (
                &|| Ok(unacknowledged(connection)? == 0),
                "the client did not acknowledge what the server had sent",
            ),
            _ => return None,
        };
        let until = Instant::now() + SETTLE_PATIENCE;
        loop {
            let ended = self.shared.failure.get().is_some() || self.stop.ended();
            match settled() {
                _ if ended => return None,
                Ok(true) => return None,
                Ok(false) if Instant::now() > until => return Some(told.to_owned()),
                Ok(false) => thread::sleep(SETTLE_INTERVAL),
                Err(error) => return Some(format!("cannot ask the server's socket: {error}")),
            }
        }
    }

    fn has_read_all(&self, connection: &Socket) -> io::Result<bool> {
        let arrived = TcpInfo::of(connection)?.bytes_received;
        let of_stream = arrived.saturating_sub(greeting::greeting_bytes(&self.plan));
        Ok(self.shared.received.load(Ordering::Acquire) >= of_stream)
    }

    /// TCP's own counters, where it is the server who sends.
    pub(crate) fn tcp(&self) -> Option<Tcp> {
        let sender = self.plan.test.payload() == Direction::Response;
        let connection = self.shared.connection.get().filter(|_| sender)?;
        self.retransmits.report(connection)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(Err(error)) = self.thread.take().map(Inside::join) {
            tracing::error!(%error, "a server failed");
        }
    }
}

/// Waits for the flow's client; connections of others are closed.
fn accept(listener: &Socket, client: SocketAddr, stop: &Stop) -> io::Result<Arc<Socket>> {
    loop {
        match listener.accept() {
            Ok((socket, address)) if address.as_socket() == Some(client) => {
                return Ok(stop.watch(socket));
            }
            Ok((_, address)) => {
                tracing::warn!(
                    ?address,
                    "a stranger's connection to a test's port was closed"
                );
            }
            Err(error) if stop.ended() => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}
