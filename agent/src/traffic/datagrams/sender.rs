//! The client of `udp_stream`: sends what is due.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::Arc,
    thread,
    time::Duration,
};

use nettoll_core::hop::Direction;
use socket2::Socket;

use super::{
    super::{
        Plan, Seen, Stop, TrafficError,
        client::Generator,
        clock::{be_punctual, now_ns, sleep_until},
        header::{HEADER_BYTES, message, same_run, set_sequence},
        round::Round,
        socket::{self, UDP_PATIENCE},
        tcp::unacknowledged,
    },
    Kind, LEAST_BYTES,
    batch::{BATCH, Batch},
    read,
};
use crate::probe::Stamps;

/// How many are tried before the path is taken to be closed.
const HELLOS: u64 = 3;
/// How often the client looks whether its own queues are empty.
const DRAIN_INTERVAL: Duration = Duration::from_micros(200);
/// Beside twice the time of a way, what the client waits for the last datagrams.
const LAST_WAY: Duration = Duration::from_millis(1);
/// And at most so long.
const LONGEST_WAY: Duration = Duration::from_secs(1);
/// Most payload of one call, so that the call is not a large part of a round on a slow path.
const CALL_BYTES: usize = 64 << 10;
/// Between two datagrams the client looks so often whether its run is deleted, ns.
const LOOK_NS: u64 = 100_000_000;
/// After so many calls in a row that were cut short nobody takes datagrams any more.
const REFUSALS: u32 = 8;

/// When datagrams are due.
#[derive(Clone, Copy, Debug)]
struct Pace {
    begin_ns: u64,
    interval_ns: f64,
}

impl Pace {
    /// How many are due by then. The first one is after half of an interval: so they are in the mean as
    /// many as the rate asks for.
    fn due(self, ns: u64) -> u64 {
        (ns.saturating_sub(self.begin_ns) as f64 / self.interval_ns + 0.5) as u64
    }

    /// When the one after so many is due.
    fn next_ns(self, sent: u64) -> u64 {
        self.begin_ns + ((sent as f64 + 0.5) * self.interval_ns).ceil() as u64
    }
}

/// The client.
#[derive(Debug)]
pub(in super::super) struct Datagrams {
    socket: Arc<Socket>,
    from: SocketAddr,
    to: SocketAddr,
    run: u32,
    warmup: Duration,
    stop: Stop,
    batch: Batch,
    datagram_bytes: u64,
    /// From one to the next; `None` for as fast as possible.
    interval_ns: Option<f64>,
    /// How many were sent, in all rounds.
    number: u64,
    round: u8,
    /// There and back, as the first answer took it.
    way: Duration,
}

impl Datagrams {
    pub(in super::super) fn new(socket: Arc<Socket>, plan: &Plan, stop: &Stop) -> Self {
        let datagram_bytes = plan.request_bytes as u64;
        let places = (CALL_BYTES / plan.request_bytes.max(1)).clamp(1, BATCH);
        Self {
            socket,
            from: plan.client,
            to: plan.target(),
            run: plan.run,
            warmup: plan.warmup,
            stop: stop.clone(),
            batch: Batch::of(&message(plan.run, plan.request_bytes), places),
            datagram_bytes,
            interval_ns: (plan.rate_bits_per_second)
                .map(|rate| datagram_bytes as f64 * 8e9 / rate as f64),
            number: 0,
            round: 0,
            way: Duration::ZERO,
        }
    }

    /// Sends until that time. Of those that are measured the stamps are told.
    fn send(
        &mut self,
        until: u64,
        measured: bool,
        stamps: Option<&Stamps>,
    ) -> Result<(), TrafficError> {
        let kind = Kind::Data {
            round: self.round,
            measured,
        };
        let first = self.number;
        let begin_ns = now_ns();
        let pace = self.interval_ns.map(|interval_ns| Pace {
            begin_ns,
            interval_ns,
        });
        let mut refusals = 0;
        loop {
            self.go_on()?;
            let now = now_ns();
            let over = now >= until;
            let count = match pace {
                None if over => return Ok(()),
                None => self.batch.len(),
                Some(pace) => {
                    let sent = self.number - first;
                    match pace.due(now.min(until)).checked_sub(sent) {
                        Some(missing @ 1..) => (missing as usize).min(self.batch.len()),
                        _ if over => return Ok(()),
                        _ => {
                            sleep_until(pace.next_ns(sent).min(until).min(now + LOOK_NS));
                            continue;
                        }
                    }
                }
            };
            for (place, number) in self.batch.places().take(count).zip(self.number + 1..) {
                set_sequence(place, kind.field(number));
                if let Some(stamp) = place.get_mut(HEADER_BYTES..LEAST_BYTES as usize) {
                    stamp.copy_from_slice(&now.to_be_bytes());
                }
            }
            if let Some(stamps) = stamps {
                stamps.sending(Direction::Request, now);
            }
            match self.batch.send(&self.socket, count) {
                Ok(sent) => {
                    self.number += sent as u64;
                    // What the kernel answers after the first one of a call, it does not tell.
                    refusals = if sent < count { refusals + 1 } else { 0 };
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_passing(&error) => refusals += 1,
                Err(error) => return Err(self.stop.explain(error)),
            }
            if refusals == REFUSALS {
                let told = "sending was refused again and again; is the peer gone?";
                return Err(self.stop.explain(io::Error::other(told)));
            }
            // One call for what a late wake-up missed, and not as many as a slow path makes of it.
            if over {
                return Ok(());
            }
        }
    }

    fn go_on(&self) -> Result<(), TrafficError> {
        if self.stop.ended() {
            return Err(self.stop.explain(io::ErrorKind::NotConnected.into()));
        }
        Ok(())
    }

    /// Waits until all have left this node, and for as long as the last of them may be on the way.
    fn drain(&self) -> Result<(), TrafficError> {
        while unacknowledged(&self.socket).map_err(|error| self.stop.explain(error))? > 0 {
            self.go_on()?;
            thread::sleep(DRAIN_INTERVAL);
        }
        thread::sleep((self.way * 2 + LAST_WAY).min(LONGEST_WAY));
        Ok(())
    }

    /// Whether the server answers, and how fast.
    fn hello(&mut self) -> io::Result<bool> {
        self.socket.set_read_timeout(Some(UDP_PATIENCE))?;
        let mut hello = message(self.run, HEADER_BYTES);
        let mut answer = [0; HEADER_BYTES];
        let sent = now_ns();
        for number in 1..=HELLOS {
            set_sequence(&mut hello, Kind::Hello.field(number));
            (&*self.socket).write_all(&hello)?;
            match (&*self.socket).read(&mut answer) {
                // On a long way it may be that to an earlier one.
                Ok(_) if same_run(&answer, &hello) && is_hello(&answer) => {
                    self.way = Duration::from_nanos(now_ns() - sent);
                    self.socket.set_read_timeout(None)?;
                    return Ok(true);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

fn is_hello(datagram: &[u8]) -> bool {
    read(datagram).is_some_and(|(kind, ..)| kind == Kind::Hello)
}

/// What the next call may not meet: no memory for the moment, and a word from the path that a datagram
/// was too long, after which the kernel sends fragments.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOBUFS | libc::ENOMEM | libc::EMSGSIZE)
    )
}

impl Generator for Datagrams {
    fn start(&mut self) -> Result<(), TrafficError> {
        socket::connect(&self.socket, self.from, self.to, &self.stop)?;
        match self.hello() {
            Ok(true) => Ok(()),
            Ok(false) => Err(TrafficError::NoAnswer(self.to, HELLOS)),
            Err(error) => Err(self.stop.explain(error)),
        }
    }

    fn round(&mut self, round: &mut Round) -> Result<(), TrafficError> {
        let length_ns = round.length.as_nanos() as f64;
        if self
            .interval_ns
            .is_some_and(|interval| length_ns < 2.0 * interval)
        {
            return Err(TrafficError::Sparse(round.length.as_secs_f64()));
        }
        be_punctual();
        self.round = (self.round + 1) % Kind::ROUNDS;
        let warm = now_ns() + self.warmup.as_nanos() as u64;
        self.send(warm, false, None)?;
        let stamps = round.stamps.clone();
        let until = round.open()?;
        let before = self.number;
        let outcome = self.send(until, true, stamps.as_ref());
        round.measured();
        let sent = self.number - before;
        round.sent = Some(sent);
        round.bytes = sent * self.datagram_bytes;
        outcome?;
        self.drain()
    }

    fn seen(&self) -> Vec<Seen> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_due_as_the_rate_asks_for() {
        // 1400 bytes at 100 Mbit/s: one each 112 µs.
        let pace = Pace {
            begin_ns: 5_000,
            interval_ns: 112_000.0,
        };
        assert_eq!(pace.due(5_000), 0);
        assert_eq!(pace.due(5_000 + 55_999), 0);
        assert_eq!(pace.due(5_000 + 56_000), 1);
        assert_eq!(pace.due(5_000 + 112_000_000), 1_000);
        // Before it began, and after an hour without drift.
        assert_eq!(pace.due(0), 0);
        let hour = 3_600_000_000_000_u64;
        assert_eq!(pace.due(5_000 + hour), hour / 112_000);
        for sent in [0, 1, 7, 1_000_000] {
            let next = pace.next_ns(sent);
            assert_eq!((pace.due(next - 1), pace.due(next)), (sent, sent + 1));
        }
    }
}
