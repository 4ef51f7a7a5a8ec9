//! `tcp_rr` and `udp_rr`: one request outstanding, answered at once.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use nettoll_core::{
    api::Protocol,
    hop::{Direction, Side},
};
use socket2::Socket;

use super::{
    Plan, Seen, Stop, TrafficError,
    client::Generator,
    clock::now_ns,
    header::{message, same, same_run, set_sequence},
    reading::{ReadCall, Reading},
    recorder::add,
    round::Round,
    server::Shared,
    slowest::{Answers, Exchange, Requests, Slowest},
    socket::{self, UDP_PATIENCE},
};
use crate::probe::Mark;

/// Fewest requests of a warm-up.
const WARMUP_REQUESTS: u64 = 50;
/// It does not wait for them longer than this beyond its time, on a slow or lossy path.
const WARMUP_AT_MOST: Duration = Duration::from_secs(3);
/// So many datagrams without any answer and the path is taken to be closed.
const UNANSWERED: u64 = 3;

/// What differs between the protocols. Messages have their final length.
pub(super) trait Transport: std::fmt::Debug + Send {
    /// Sends a request and receives its response. False: it is lost.
    fn exchange(
        &self,
        request: &[u8],
        response: &mut [u8],
        call: &mut ReadCall,
    ) -> io::Result<bool>;

    /// Receives one request of the run that `response` belongs to. False: there are no more.
    fn receive(&self, request: &mut [u8], response: &[u8], call: &mut ReadCall)
    -> io::Result<bool>;

    /// Sends one message.
    fn send(&self, message: &[u8]) -> io::Result<()>;
}

/// A TCP connection: messages are told apart by their known length.
#[derive(Debug)]
pub(super) struct TcpTransport(pub(super) Arc<Socket>);

impl TcpTransport {
    /// Receives a whole message.
    #[inline]
    fn read(&self, message: &mut [u8], call: &mut ReadCall) -> io::Result<()> {
        let mut there = 0;
        call.begins();
        loop {
            match (&*self.0).read(&mut message[there..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => there += length,
                // The same call goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if there >= message.len() {
                return Ok(());
            }
            call.begins();
        }
    }
}

impl Transport for TcpTransport {
    fn exchange(
        &self,
        request: &[u8],
        response: &mut [u8],
        call: &mut ReadCall,
    ) -> io::Result<bool> {
        self.send(request)?;
        self.read(response, call)?;
        Ok(true)
    }

    fn receive(
        &self,
        request: &mut [u8],
        _response: &[u8],
        call: &mut ReadCall,
    ) -> io::Result<bool> {
        match self.read(request, call) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        (&*self.0).write_all(message)
    }
}

/// A connected UDP socket.
#[derive(Debug)]
pub(super) struct UdpTransport {
    pub(super) socket: Arc<Socket>,
    pub(super) stop: Stop,
}

impl Transport for UdpTransport {
    fn exchange(
        &self,
        request: &[u8],
        response: &mut [u8],
        call: &mut ReadCall,
    ) -> io::Result<bool> {
        self.send(request)?;
        let mut stale_since = None;
        call.begins();
        loop {
            match (&*self.socket).read(response) {
                Ok(length) if length == response.len() && same(request, response) => {
                    return Ok(true);
                }
                // To an earlier request, which was declared lost. Or nothing at all.
                Ok(_) if self.stop.ended() => return Err(io::ErrorKind::NotConnected.into()),
                Ok(_) => {
                    let now = now_ns();
                    let since = *stale_since.get_or_insert(now);
                    if Duration::from_nanos(now - since) > UDP_PATIENCE {
                        return Ok(false);
                    }
                    call.begins();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                // The same call goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(
        &self,
        request: &mut [u8],
        response: &[u8],
        call: &mut ReadCall,
    ) -> io::Result<bool> {
        call.begins();
        loop {
            match (&*self.socket).read(request) {
                Ok(length) if length == request.len() && same_run(request, response) => {
                    return Ok(true);
                }
                Ok(_) if self.stop.ended() => return Ok(false),
                Ok(_) => call.begins(),
                // An earlier response met a closed port: that client's affair.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => call.begins(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        (&*self.socket).write(message).map(drop)
    }
}

/// The client of `tcp_rr`.
pub(super) fn tcp_client(socket: Arc<Socket>, plan: &Plan, stop: &Stop) -> Box<dyn Generator> {
    let transport = TcpTransport(Arc::clone(&socket));
    Box::new(RrClient::new(transport, socket, plan, stop))
}

/// The client of `udp_rr`.
pub(super) fn udp_client(socket: Arc<Socket>, plan: &Plan, stop: &Stop) -> Box<dyn Generator> {
    let transport = UdpTransport {
        socket: Arc::clone(&socket),
        stop: stop.clone(),
    };
    Box::new(RrClient::new(transport, socket, plan, stop))
}

#[derive(Debug)]
struct RrClient<T> {
    transport: T,
    socket: Arc<Socket>,
    from: SocketAddr,
    to: SocketAddr,
    protocol: Protocol,
    warmup: Duration,
    stop: Stop,
    request: Box<[u8]>,
    response: Box<[u8]>,
    sequence: u64,
    reading: Reading,
    call: ReadCall,
    requests: Requests,
}

impl<T: Transport> RrClient<T> {
    fn new(transport: T, socket: Arc<Socket>, plan: &Plan, stop: &Stop) -> Self {
        Self {
            transport,
            socket,
            from: plan.client,
            to: plan.target(),
            protocol: plan.protocol(),
            warmup: plan.warmup,
            stop: stop.clone(),
            request: message(plan.run, plan.request_bytes),
            response: message(plan.run, plan.response_bytes),
            sequence: 0,
            reading: Reading::new(Side::Client, Direction::Response),
            call: ReadCall::default(),
            requests: Requests::new(),
        }
    }

    /// The next request and its response. False: it is lost.
    #[inline]
    fn exchange(&mut self) -> Result<bool, TrafficError> {
        let answered = (self.transport).exchange(&self.request, &mut self.response, &mut self.call);
        match answered {
            Ok(true) if same(&self.request, &self.response) => Ok(true),
            Ok(true) => Err(TrafficError::WrongAnswer),
            Ok(false) => Ok(false),
            Err(error) => Err(self.stop.explain(error)),
        }
    }

    #[inline]
    fn number_request(&mut self) {
        self.sequence += 1;
        set_sequence(&mut self.request, self.sequence);
    }
}

impl<T: Transport> Generator for RrClient<T> {
    fn start(&mut self) -> Result<(), TrafficError> {
        socket::connect(&self.socket, self.from, self.to, &self.stop)?;
        let set = match self.protocol {
            Protocol::Tcp => self.socket.set_tcp_nodelay(true),
            Protocol::Udp => self.socket.set_read_timeout(Some(UDP_PATIENCE)),
        };
        set.map_err(|error| self.stop.explain(error))?;
        let until = now_ns() + self.warmup.as_nanos() as u64;
        let at_most = until + WARMUP_AT_MOST.as_nanos() as u64;
        let (mut asked, mut answered) = (0, 0);
        while now_ns() < until || (asked < WARMUP_REQUESTS && now_ns() < at_most) {
            asked += 1;
            self.number_request();
            if self.exchange()? {
                answered += 1;
            } else if asked - answered >= UNANSWERED && answered == 0 {
                return Err(TrafficError::NoAnswer(self.to, asked));
            }
        }
        Ok(())
    }

    fn round(&mut self, round: &mut Round) -> Result<(), TrafficError> {
        let stamps = round.stamps.clone();
        self.call.stamps = stamps.is_some();
        let until = round.open()?;
        loop {
            let sent = now_ns();
            if sent >= until {
                return Ok(());
            }
            self.number_request();
            let mut mark = Mark::default();
            if let Some(stamps) = &stamps {
                self.requests.ask(&mut self.request, self.sequence);
                stamps.sending(Direction::Request, sent);
                mark = stamps.hops_mark(sent);
            }
            if !self.exchange()? {
                round.lost += 1;
                continue;
            }
            let received = now_ns();
            if let Some(stamps) = &stamps {
                let arrival = stamps.arrived(Direction::Response);
                let exchange = Exchange {
                    sequence: self.sequence,
                    stamps_ns: [sent, received],
                    ready: arrival.and_then(|it| self.reading.read(it, self.call, received)),
                    mark,
                };
                self.requests.answered(exchange, round.number, stamps);
            }
            if let Some(rtt) = &mut round.rtt {
                rtt.record(received - sent);
            }
            round.bytes += self.request.len() as u64;
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.reading.seen()
    }

    fn slowest(&self) -> Option<Slowest> {
        Some(self.requests.slowest().clone())
    }
}

/// Answers one flow's requests until it ends. Everything but an earlier one's hops is recorded before
/// the response is sent: whoever has the response finds it recorded.
pub(super) fn serve(transport: &impl Transport, shared: &Shared, plan: &Plan) -> io::Result<()> {
    let mut request = message(plan.run, plan.request_bytes);
    let mut response = message(plan.run, plan.response_bytes);
    let mut answers = Answers::new(&shared.slowest);
    let mut call = ReadCall::default();
    while transport.receive(&mut request, &response, &mut call)? {
        let header = super::header::HEADER_BYTES;
        response[..header].copy_from_slice(&request[..header]);
        if let Some(stamps) = shared.stamps() {
            let received = now_ns();
            let arrival = stamps.arrived(Direction::Request);
            let ready = arrival.and_then(|it| shared.reading.read(it, call, received));
            add(&shared.transactions, 1);
            let sent = now_ns();
            shared.responder.times.record(sent - received);
            stamps.sending(Direction::Response, sent);
            let mark = stamps.hops_mark(sent);
            transport.send(&response)?;
            answers.answered(&request, [received, sent], ready, mark, stamps);
        } else {
            add(&shared.transactions, 1);
            transport.send(&response)?;
        }
        call.stamps = shared.stamps().is_some();
    }
    Ok(())
}
