//! The side that makes requests and measures.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use nettoll_core::{
    api::{FlowTuple, RoundSide},
    hop::Direction,
    report::{Http, Tcp, TestType},
};
use socket2::Socket;

use super::{
    Interval, Plan, Seen, Slowest, Stop, Target, TrafficError,
    datagrams::Datagrams,
    greeting,
    http::HttpRr,
    path_cost::PathCost,
    round::Round,
    rr,
    socket::{self, PATIENCE},
    stream::{Reverse, Stream},
    tcp::Retransmits,
};
use crate::{netns::Netns, probe::Stamps};

/// One test's loop.
pub(super) trait Generator: fmt::Debug + Send {
    /// Connects and warms up.
    fn start(&mut self) -> Result<(), TrafficError>;

    /// Makes one round's traffic: calls [`Round::open`] when it begins to count, and leaves the
    /// connection idle. What it does not close, its caller does.
    fn round(&mut self, round: &mut Round) -> Result<(), TrafficError>;

    /// The stages whose ends it sees.
    fn seen(&self) -> Vec<Seen>;

    /// The slowest requests, where it keeps them.
    fn slowest(&self) -> Option<Slowest> {
        None
    }
}

/// A client with its socket.
#[derive(Debug)]
pub(crate) struct Client {
    netns: Netns,
    stop: Stop,
    /// `None` where each request has a connection of its own.
    flow: Option<FlowTuple>,
    test: TestType,
    warmup: Duration,
    /// `None` after its thread panicked.
    generator: Option<Box<dyn Generator>>,
    seen: Vec<Seen>,
    slowest: Option<Slowest>,
    /// The connection of TCP tests.
    tcp: Option<Arc<Socket>>,
    /// Of `http_rr`.
    http: Option<Arc<Mutex<Http>>>,
    /// Of the round that runs.
    stamps: Option<Stamps>,
    interval: Interval,
    retransmits: Retransmits,
}

impl Client {
    /// Binds the client's socket: its port is known, but nothing is sent, but for the
    /// greeting where addresses may be translated.
    pub(crate) fn open(netns: &Netns, plan: &Plan, stop: &Stop) -> Result<Self, TrafficError> {
        Self::opened(netns, plan, stop, |socket, plan| match plan.test {
            TestType::TcpStream => Box::new(Stream::new(socket, plan, stop)),
            TestType::TcpReverse => Box::new(Reverse::new(socket, plan, stop)),
            TestType::UdpStream => Box::new(Datagrams::new(socket, plan, stop)),
            TestType::UdpRr => rr::udp_client(socket, plan, stop),
            _ => rr::tcp_client(socket, plan, stop),
        })
    }

    /// Binds both sockets of `path_cost`, each in its namespace.
    pub(crate) fn open_both(
        netns: &Netns,
        server: &Netns,
        plan: &Plan,
        stop: &Stop,
    ) -> Result<Self, TrafficError> {
        let open = |source| TrafficError::Open {
            address: plan.server,
            source,
        };
        let to = socket::open(server, plan.protocol(), plan.server, None)?;
        let server = socket::local_address(&to).map_err(open)?;
        let plan = Plan { server, ..*plan };
        let to = stop.watch(to);
        Self::opened(netns, &plan, stop, |from, plan| {
            Box::new(PathCost::new(from, to, plan, stop))
        })
    }

    /// Makes the client of `http_rr`, whose sockets are opened as they are needed.
    pub(crate) fn to_url(netns: &Netns, plan: &Plan, target: Target, stop: &Stop) -> Self {
        let generator = HttpRr::new(target, stop);
        Self {
            netns: netns.clone(),
            stop: stop.clone(),
            flow: None,
            test: plan.test,
            warmup: plan.warmup,
            seen: generator.seen(),
            slowest: generator.slowest(),
            http: Some(generator.http()),
            generator: Some(Box::new(generator)),
            tcp: None,
            stamps: None,
            interval: Interval::default(),
            retransmits: Retransmits::default(),
        }
    }

    fn opened(
        netns: &Netns,
        plan: &Plan,
        stop: &Stop,
        generator: impl FnOnce(Arc<Socket>, &Plan) -> Box<dyn Generator>,
    ) -> Result<Self, TrafficError> {
        let protocol = plan.protocol();
        let socket = if plan.greets {
            greeting::connect(netns, plan)?
        } else {
            socket::open(netns, protocol, plan.client, plan.mss)?
        };
        let open = |source| TrafficError::Open {
            address: plan.client,
            source,
        };
        let client = socket::local_address(&socket).map_err(open)?;
        let socket = stop.watch(socket);
        let plan = Plan { client, ..*plan };
        let tcp = (protocol == nettoll_core::api::Protocol::Tcp).then(|| Arc::clone(&socket));
        let generator = generator(socket, &plan);
        Ok(Self {
            netns: netns.clone(),
            stop: stop.clone(),
            flow: Some(FlowTuple {
                protocol,
                client,
                server: plan.target(),
            }),
            test: plan.test,
            warmup: plan.warmup,
            seen: generator.seen(),
            slowest: generator.slowest(),
            generator: Some(generator),
            tcp,
            http: None,
            stamps: None,
            interval: Interval::default(),
            retransmits: Retransmits::default(),
        })
    }

    /// The flow that its requests will be, if they are one.
    pub(crate) fn flow(&self) -> Option<FlowTuple> {
        self.flow
    }

    /// The stages whose ends it sees.
    pub(crate) fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// The slowest requests, of RR tests.
    pub(crate) fn slowest(&self) -> Option<&Slowest> {
        self.slowest.as_ref()
    }

    /// Connects and warms the path up.
    pub(crate) fn start(&mut self) -> Result<(), TrafficError> {
        // To connect, and then as for a round.
        let limit = PATIENCE + self.warmup + PATIENCE;
        self.on_thread(limit, |generator| generator.start())?
    }

    /// A round follows, with these stamps if the probe is attached.
    pub(crate) fn begin(&mut self, stamps: Option<Stamps>, interval: Interval) {
        self.interval = interval;
        (self.retransmits).begin(self.tcp.as_deref(), stamps.is_some());
        self.stamps = stamps;
    }

    /// Makes the traffic of that round of the job, or of one that calibrates. One that broke off says
    /// so in its `invalid_reason`.
    ///
    /// # Errors
    /// It was stopped, or its thread could not be started.
    pub(crate) fn run(
        &mut self,
        number: Option<u32>,
        length: Duration,
    ) -> Result<RoundSide, TrafficError> {
        let interval = std::mem::take(&mut self.interval);
        let transactions = !self.test.is_stream();
        let mut round = Round::new(length, transactions, self.stamps.clone(), interval);
        round.number = number;
        let limit = self.warmup + length + PATIENCE;
        let (side, outcome) = self.on_thread(limit, move |generator| {
            let outcome = generator.round(&mut round);
            (round.side(outcome.as_ref().err()), outcome)
        })?;
        match outcome {
            Err(TrafficError::Stopped) => Err(TrafficError::Stopped),
            Err(_) | Ok(()) => Ok(side),
        }
    }

    /// The round is over.
    pub(crate) fn end(&mut self) {
        self.retransmits.end(self.tcp.as_deref());
        self.stamps = None;
    }

    /// TCP's own counters, of TCP tests in which it is the client who sends; retransmits over the
    /// rounds with the probe.
    pub(crate) fn tcp(&self) -> Option<Tcp> {
        let sender = self.test.payload() == Direction::Request;
        self.retransmits
            .report(self.tcp.as_deref().filter(|_| sender)?)
    }

    /// What answered so far, of `http_rr`.
    pub(crate) fn http(&self) -> Option<Http> {
        let http = self.http.as_ref()?;
        let http = http.lock().unwrap_or_else(PoisonError::into_inner);
        Some(http.clone())
    }

    /// Lends the generator to a thread inside the client's namespace. What takes longer than
    /// `limit` is broken off.
    fn on_thread<T: Send + 'static>(
        &mut self,
        limit: Duration,
        f: impl FnOnce(&mut dyn Generator) -> T + Send + 'static,
    ) -> Result<T, TrafficError> {
        let gone = || TrafficError::Thread(io::Error::other("an earlier round's thread panicked"));
        let mut generator = self.generator.take().ok_or_else(gone)?;
        if self.stop.stopped() {
            return Err(TrafficError::Stopped);
        }
        let (tell, told) = mpsc::channel();
        let lend = move || {
            let result = f(generator.as_mut());
            // Nobody listens any more where it took too long.
            let _ = tell.send(());
            (generator, result)
        };
        let thread = self.netns.on_thread("nettoll-client", lend);
        let thread = thread.map_err(TrafficError::Thread)?;
        if let Err(mpsc::RecvTimeoutError::Timeout) = told.recv_timeout(limit) {
            self.stop.break_off();
        }
        let (generator, result) = thread.join().map_err(TrafficError::Thread)?;
        self.generator = Some(generator);
        Ok(result)
    }
}
