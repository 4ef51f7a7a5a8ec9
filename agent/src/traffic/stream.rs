//! `tcp_stream`: bulk data from client to server. `tcp_reverse`: from server to client.
//!
//! A sender has its own stamps before each write call, a receiver counts what its read calls
//! return; which of both is the client only decides who asks for whom. In `tcp_reverse` the client
//! says go, and stop when it has measured; the last bytes of the round tell how many came before
//! them, so that the client knows when nothing is under way any more.

use std::{
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
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
    header::{HEADER_BYTES, message, same, same_run, set_sequence},
    recorder::add,
    round::Round,
    server::Shared,
    socket,
    tcp::{TcpInfo, unacknowledged},
};

/// Most bytes that a receiver takes with one call: the more, the fewer wake-ups. Seen on two CPUs:
/// some 8 % more throughput than with 128 KiB.
const RECEIVE_BYTES: usize = 1 << 20;
/// How often the client looks whether everything is acknowledged.
const DRAIN_INTERVAL: Duration = Duration::from_micros(200);
/// How often a server that sends looks whether it is to stop, ns.
const LOOK_NS: u64 = 1_000_000;
/// The greatest sequence number is less: what the last bytes of a round are told by.
const LAST: u64 = 1 << 56;

/// The data of one direction.
#[derive(Debug)]
struct Sender {
    message: Box<[u8]>,
    sequence: u64,
}

impl Sender {
    fn new(plan: &Plan) -> Self {
        Self {
            message: message(plan.run, plan.request_bytes),
            sequence: 0,
        }
    }

    #[inline]
    fn write(&mut self, socket: &Socket) -> io::Result<()> {
        self.sequence += 1;
        set_sequence(&mut self.message, self.sequence);
        (&*socket).write_all(&self.message)
    }
}

/// The client of `tcp_stream`.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Arc<Socket>,
    from: SocketAddr,
    to: SocketAddr,
    warmup: Duration,
    stop: Stop,
    sender: Sender,
}

impl Stream {
    pub(super) fn new(socket: Arc<Socket>, plan: &Plan, stop: &Stop) -> Self {
        Self {
            socket,
            from: plan.client,
            to: plan.target(),
            warmup: plan.warmup,
            stop: stop.clone(),
            sender: Sender::new(plan),
        }
    }

    #[inline]
    fn write(&mut self) -> Result<(), TrafficError> {
        let written = self.sender.write(&self.socket);
        written.map_err(|error| self.stop.explain(error))
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

/// The client of `tcp_reverse`.
#[derive(Debug)]
pub(super) struct Reverse {
    socket: Arc<Socket>,
    from: SocketAddr,
    to: SocketAddr,
    warmup: Duration,
    stop: Stop,
    /// Says go and stop, by turns.
    request: Box<[u8]>,
    sequence: u64,
    buffer: Box<[u8]>,
    socket_rx: Seen,
}

impl Reverse {
    pub(super) fn new(socket: Arc<Socket>, plan: &Plan, stop: &Stop) -> Self {
        Self {
            socket,
            from: plan.client,
            to: plan.target(),
            warmup: plan.warmup,
            stop: stop.clone(),
            request: message(plan.run, HEADER_BYTES),
            sequence: 0,
            buffer: vec![0; RECEIVE_BYTES].into_boxed_slice(),
            socket_rx: Seen::new(UserStage::SocketRx, Side::Client, Direction::Response),
        }
    }

    fn ask(&mut self) -> Result<(), TrafficError> {
        self.sequence += 1;
        set_sequence(&mut self.request, self.sequence);
        let asked = (&*self.socket).write_all(&self.request);
        asked.map_err(|error| self.stop.explain(error))
    }

    #[inline]
    fn read(&mut self) -> Result<usize, TrafficError> {
        loop {
            let error = match (&*self.socket).read(&mut self.buffer) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(length) => return Ok(length),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            return Err(self.stop.explain(error));
        }
    }

    /// Reads what was under way when the server was told to stop, after so many bytes.
    fn drain(&mut self, mut bytes: u64) -> Result<(), TrafficError> {
        let mut tail = Tail::default();
        loop {
            let length = self.read()?;
            bytes += length as u64;
            tail.add(self.buffer.get(..length).unwrap_or_default());
            if let Some(before) = tail.bytes_before(&self.request) {
                return if before + HEADER_BYTES as u64 == bytes {
                    Ok(())
                } else {
                    Err(TrafficError::WrongAnswer)
                };
            }
        }
    }
}

impl Generator for Reverse {
    fn start(&mut self) -> Result<(), TrafficError> {
        socket::connect(&self.socket, self.from, self.to, &self.stop)?;
        // What is asked is not to wait for anything.
        let set = self.socket.set_tcp_nodelay(true);
        set.map_err(|error| self.stop.explain(error))
    }

    fn round(&mut self, round: &mut Round) -> Result<(), TrafficError> {
        self.ask()?;
        let warm = now_ns() + self.warmup.as_nanos() as u64;
        let mut all = 0;
        while now_ns() < warm {
            all += self.read()? as u64;
        }
        let stamps = round.stamps.clone();
        round.begin()?;
        // What counts came between two returns of a read call.
        all += self.read()? as u64;
        let until = round.began(now_ns());
        loop {
            let length = self.read()? as u64;
            let now = now_ns();
            all += length;
            round.bytes += length;
            if let Some(stamps) = &stamps
                && let Some(ns) = stamps.received(Direction::Response, now)
            {
                self.socket_rx.record(ns);
            }
            if now >= until {
                break;
            }
        }
        round.measured();
        self.ask()?;
        self.drain(all)
    }

    fn seen(&self) -> Vec<Seen> {
        vec![self.socket_rx.clone()]
    }
}

/// The last bytes that came.
#[derive(Debug, Default)]
struct Tail([u8; HEADER_BYTES]);

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        let new = bytes.len().min(HEADER_BYTES);
        self.0.rotate_left(new);
        self.0[HEADER_BYTES - new..].copy_from_slice(&bytes[bytes.len() - new..]);
    }

    /// How many bytes of the round came before them, where they are its last; `like` is of the run.
    fn bytes_before(&self, like: &[u8]) -> Option<u64> {
        let field = self.0.get(8..)?.try_into().ok()?;
        let number = u64::from_be_bytes(field);
        (same_run(&self.0, like) && number >= LAST).then(|| number - LAST)
    }
}

/// The server of `tcp_stream`: receives one flow's data until it ends.
pub(super) fn receive(socket: &Socket, shared: &Shared, plan: &Plan) -> io::Result<()> {
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
                    shared.socket_rx.record(ns);
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

/// The server of `tcp_reverse`: sends one flow's data in each round, from go to stop.
pub(super) fn send(socket: &Socket, shared: &Shared, plan: &Plan) -> io::Result<()> {
    let mut sender = Sender::new(plan);
    let mut request = message(plan.run, HEADER_BYTES);
    let mut expected = request.clone();
    let mut asked = |number| {
        (&*socket).read_exact(&mut request)?;
        set_sequence(&mut expected, number);
        if same(&request, &expected) {
            return Ok(());
        }
        Err(io::Error::other("the client asked for something else"))
    };
    for number in (1..).step_by(2) {
        match asked(number) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let bytes = send_round(socket, shared, plan, &mut sender)?;
        asked(number + 1)?;
        let mut last = message(plan.run, HEADER_BYTES);
        set_sequence(&mut last, LAST + bytes);
        (&*socket).write_all(&last)?;
    }
    Ok(())
}

/// Sends until there is something to read. Answers how many bytes that were.
fn send_round(
    socket: &Socket,
    shared: &Shared,
    plan: &Plan,
    sender: &mut Sender,
) -> io::Result<u64> {
    let first = sender.sequence;
    let begin = now_ns();
    let warm = begin + plan.warmup.as_nanos() as u64;
    let mut look = begin + LOOK_NS;
    let mut acknowledged_before = None;
    loop {
        let now = now_ns();
        if now >= look {
            if is_readable(socket)? {
                if let Some(before) = acknowledged_before {
                    let acknowledged = TcpInfo::of(socket)?.bytes_acked;
                    shared.end_measuring(now);
                    add(&shared.bytes, acknowledged.saturating_sub(before));
                }
                return Ok((sender.sequence - first) * plan.request_bytes as u64);
            }
            look = now + LOOK_NS;
        }
        if now >= warm && acknowledged_before.is_none() {
            shared.begin_measuring(plan.server_marks);
            acknowledged_before = Some(TcpInfo::of(socket)?.bytes_acked);
        }
        if let Some(stamps) = shared.stamps() {
            stamps.sending(Direction::Response, now_ns());
        }
        sender.write(socket)?;
    }
}

/// Whether a read call would return at once.
fn is_readable(socket: &Socket) -> io::Result<bool> {
    let mut byte = [MaybeUninit::uninit()];
    match socket.recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounds_last_bytes_are_found_however_they_come() {
        let like = message(7, HEADER_BYTES);
        let mut stream = message(7, 100).into_vec();
        let mut last = message(7, HEADER_BYTES);
        set_sequence(&mut last, LAST + stream.len() as u64);
        stream.extend(&last);
        for length in [1, 15, 16, 17, 116] {
            let mut tail = Tail::default();
            let mut found = Vec::new();
            for bytes in stream.chunks(length) {
                tail.add(bytes);
                found.extend(tail.bytes_before(&like));
            }
            assert_eq!(found, [100], "{length}");
        }
        let mut tail = Tail::default();
        tail.add(&last);
        assert_eq!(tail.bytes_before(&message(8, HEADER_BYTES)), None);
    }
}
