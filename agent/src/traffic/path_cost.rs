//! `path_cost`: what round trips hide. One thread owns both sockets, stays on one CPU and sends
//! one datagram at a time. The kernel carries a datagram through virtual devices inside the send
//! call (transmit, then the softirqs that it raised, before the call returns), so the receive
//! call finds it at once: the time from the stamp before the send to the stamp after the receive
//! is the path alone, without a wake-up.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::Arc,
    thread,
    time::Duration,
};

use nettoll_core::{
    api::UserStage,
    hop::{Direction, Side},
};
use socket2::Socket;

use super::{
    Plan, Seen, Stop, TrafficError,
    client::Generator,
    clock::now_ns,
    cpu::pin_to_one_cpu,
    header::{message, same, set_sequence},
    round::Round,
    socket::UDP_PATIENCE,
};

/// Unmeasured datagrams before each round, which begins with cold caches: some milliseconds.
const WARMUP_DATAGRAMS: u64 = 1_000;
/// It does not wait for them longer than this beyond its time, on a lossy path.
const WARMUP_AT_MOST: Duration = Duration::from_secs(3);
/// So many losses in a row and the path is taken to be closed.
const UNANSWERED: u64 = 3;

/// One datagram's fate.
enum Fate {
    /// It was there at this time; `late`: only after the first look.
    Arrived { now_ns: u64, late: bool },
    /// It was not there after [`UDP_PATIENCE`].
    Lost,
}

#[derive(Debug)]
pub(super) struct PathCost {
    from: Arc<Socket>,
    to: Arc<Socket>,
    client: SocketAddr,
    server: SocketAddr,
    warmup: Duration,
    stop: Stop,
    request: Box<[u8]>,
    received: Box<[u8]>,
    sequence: u64,
    socket_rx: Seen,
}

impl PathCost {
    pub(super) fn new(from: Arc<Socket>, to: Arc<Socket>, plan: &Plan, stop: &Stop) -> Self {
        Self {
            from,
            to,
            client: plan.client,
            server: plan.server,
            warmup: plan.warmup,
            stop: stop.clone(),
            request: message(plan.run, plan.request_bytes),
            received: message(plan.run, plan.request_bytes),
            sequence: 0,
            socket_rx: Seen::new(UserStage::SocketRx, Side::Server, Direction::Request),
        }
    }

    #[inline]
    fn number_request(&mut self) {
        self.sequence += 1;
        set_sequence(&mut self.request, self.sequence);
    }

    /// Sends the request and looks for it until it is there or lost.
    #[inline]
    fn transfer(&mut self) -> Result<Fate, TrafficError> {
        (&*self.from)
            .write(&self.request)
            .map_err(|error| self.stop.explain(error))?;
        let mut gives_up_ns = None;
        loop {
            match (&*self.to).read(&mut self.received) {
                Ok(_) if same(&self.request, &self.received) => {
                    return Ok(Fate::Arrived {
                        now_ns: now_ns(),
                        late: gives_up_ns.is_some(),
                    });
                }
                // An earlier one that was declared lost, or the end.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.stop.explain(error)),
            }
            if self.stop.ended() {
                return Err(self.stop.explain(io::ErrorKind::NotConnected.into()));
            }
            let now = now_ns();
            if now > *gives_up_ns.get_or_insert(now + UDP_PATIENCE.as_nanos() as u64) {
                return Ok(Fate::Lost);
            }
            // Whoever carries it may need this CPU.
            thread::yield_now();
        }
    }

    /// Unmeasured datagrams: at least `datagrams`, and for that time.
    fn warm_up(&mut self, datagrams: u64, time: Duration) -> Result<(), TrafficError> {
        let (mut sent, mut lost) = (0, 0);
        let until = now_ns() + time.as_nanos() as u64;
        let at_most = until + WARMUP_AT_MOST.as_nanos() as u64;
        while now_ns() < until || (sent < datagrams && now_ns() < at_most) {
            self.number_request();
            sent += 1;
            lost = match self.transfer()? {
                Fate::Arrived { .. } => 0,
                Fate::Lost => lost + 1,
            };
            if lost == UNANSWERED {
                return Err(TrafficError::NoAnswer(self.server, lost));
            }
        }
        Ok(())
    }
}

impl Generator for PathCost {
    fn start(&mut self) -> Result<(), TrafficError> {
        let connect = |socket: &Socket, to: SocketAddr| {
            socket.connect(&to.into())?;
            socket.set_nonblocking(true)
        };
        connect(&self.to, self.client)
            .and_then(|()| connect(&self.from, self.server))
            .map_err(|source| TrafficError::Connect {
                from: self.client,
                to: self.server,
                source,
            })?;
        self.warm_up(1, self.warmup)
    }

    fn round(&mut self, round: &mut Round) -> Result<(), TrafficError> {
        // On its own thread, which ends with the round.
        let cpu = pin_to_one_cpu().map_err(TrafficError::Thread)?;
        tracing::debug!(cpu, "path_cost stays on one CPU");
        self.warm_up(WARMUP_DATAGRAMS, Duration::ZERO)?;
        let stamps = round.stamps.clone();
        let until = round.open()?;
        loop {
            self.number_request();
            let sent = now_ns();
            if sent >= until {
                return Ok(());
            }
            if let Some(stamps) = &stamps {
                stamps.sending(Direction::Request, sent);
            }
            let Fate::Arrived {
                now_ns: received,
                late,
            } = self.transfer()?
            else {
                round.lost += 1;
                continue;
            };
            if let Some(stamps) = &stamps
                && let Some(ns) = stamps.received(Direction::Request, received)
            {
                self.socket_rx.times.record(ns);
            }
            if let Some(rtt) = &mut round.rtt {
                rtt.record(received - sent);
            }
            round.late += u64::from(late);
            round.bytes += self.request.len() as u64;
        }
    }

    fn seen(&self) -> Vec<Seen> {
        vec![self.socket_rx.clone()]
    }
}
