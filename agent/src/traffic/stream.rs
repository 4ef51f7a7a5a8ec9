//! `tcp_stream`: bulk data from client to server.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use nettoll_core::hop::Direction;
use socket2::Socket;

use super::{
    Plan, Seen, Stop, TrafficError,
    client::Generator,
    clock::now_ns,
    header::{message, set_sequence},
    recorder::add,
    round::Round,
    server::Shared,
    socket,
    tcp::{TcpInfo, unacknowledged},
};

/// Most bytes that the server takes with one call: the more, the fewer wake-ups. Seen on two CPUs:
/// some 8 % more throughput than with 128 KiB.
const RECEIVE_BYTES: usize = 1 << 20;
/// How often the client looks whether everything is acknowledged.
const DRAIN_INTERVAL: Duration = Duration::from_micros(200);

/// The sender.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Arc<Socket>,
    from: SocketAddr,
    to: SocketAddr,
    warmup: Duration,
    stop: Stop,
    message: Box<[u8]>,
    sequence: u64,
}

impl Stream {
    pub(super) fn new(socket: Arc<Socket>, plan: &Plan, stop: &Stop) -> Self {
        Self {
            socket,
            from: plan.client,
            to: plan.target(),
            warmup: plan.warmup,
            stop: stop.clone(),
            message: message(plan.run, plan.request_bytes),
            sequence: 0,
        }
    }

    #[inline]
    fn write(&mut self) -> Result<(), TrafficError> {
        self.sequence += 1;
        set_sequence(&mut self.message, self.sequence);
        (&*self.socket)
            .write_all(&self.message)
            .map_err(|error| self.stop.explain(error))
    }

    fn acknowledged(&self) -> Result<u64, TrafficError> {
        let info = TcpInfo::of(&self.socket).map_err(|error| self.stop.explain(error))?;
        Ok(info.bytes_acked)
    }

    /// Waits until the peer has acknowledged everything.
    fn drain(&self) -> Result<(), TrafficError> {
        while unacknowledged(&self.socket).map_err(|error| self.stop.explain(error))? > 0 {
            if self.stop.ended() {
                return Err(self.stop.explain(io::ErrorKind::NotConnected.into()));
            }
            thread::sleep(DRAIN_INTERVAL);
        }
        Ok(())
    }
}

impl Generator for Stream {
    fn start(&mut self) -> Result<(), TrafficError> {
        socket::connect(&self.socket, self.from, self.to, &self.stop)
    }

    fn round(&mut self, round: &mut Round) -> Result<(), TrafficError> {
        let warm = now_ns() + self.warmup.as_nanos() as u64;
        while now_ns() < warm {
            self.write()?;
        }
        let stamps = round.stamps.clone();
        let until = round.open()?;
        let before = self.acknowledged()?;
        loop {
            let now = now_ns();
            if now >= until {
                break;
            }
            if let Some(stamps) = &stamps {
                stamps.sending(Direction::Request, now);
            }
            self.write()?;
        }
        let acknowledged = self.acknowledged();
        round.measured();
        round.bytes = acknowledged?.saturating_sub(before);
        self.drain()
    }

    fn seen(&self) -> Vec<Seen> {
        Vec::new()
    }
}

/// Receives one flow's data until it ends.
pub(super) fn serve(socket: &Socket, shared: &Shared, plan: &Plan) -> io::Result<()> {
    let mut buffer = vec![0; RECEIVE_BYTES];
    let warmup_ns = plan.warmup.as_nanos() as u64;
    // The round that the first byte below is of, and the time until which it is not measured.
    let (mut round, mut warm_until, mut measuring) = (0, 0, false);
    loop {
        let length = match (&*socket).read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if let Some(current) = shared.open_round() {
            let now = now_ns();
            if current != round {
                (round, warm_until, measuring) = (current, now + warmup_ns, false);
            }
            if measuring {
                if let Some(stamps) = shared.stamps()
                    && let Some(ns) = stamps.received(Direction::Request, now)
                {
                    shared.socket_rx.times.record(ns);
                }
                add(&shared.bytes, length);
                shared.last_ns.store(now, Ordering::Relaxed);
            } else if now >= warm_until {
                shared.begin_measuring(plan.server_marks);
                measuring = true;
            }
        }
        // Last: whoever finds all bytes here finds the figures above, too.
        shared.received.store(
            shared.received.load(Ordering::Relaxed) + length,
            Ordering::Release,
        );
    }
}
