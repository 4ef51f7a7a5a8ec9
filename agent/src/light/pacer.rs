//! Sends the requests of all open rounds at their times and takes their answers, on one thread.
//!
//! It does nothing slow: sockets are opened, and the probe is attached and read, by the
//! [keeper](super::keeper). Without open rounds it sleeps.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, UdpSocket},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, mpsc::Sender},
    thread::sleep,
    time::Duration,
};

use nettoll_core::hop::Direction;

use super::{
    connection::Connection,
    keeper::Event,
    lock, message,
    round::Round,
    wait::{self, Want},
};
use crate::{
    netns::{Inside, Netns},
    probe::Stamps,
    runs::Watch,
    traffic::{Seen, be_punctual, header::set_sequence, now_ns},
};

/// Most payload of a datagram, and most that is read of a connection at once.
const DATAGRAM_BYTES: usize = 65_536;
/// Datagrams that are taken of a job before requests that are due are sent: more than there are
/// answers under way, so that only who floods the socket is kept waiting.
const AT_ONCE: usize = 64;
/// After an error that may come again at once.
const REST: Duration = Duration::from_millis(10);

/// A round that is to be made, is being made, or was made.
#[derive(Debug)]
pub(super) struct Job {
    /// Whose it is.
    pub(super) token: u64,
    pub(super) link: Link,
    /// The edge in the messages.
    pub(super) run: u32,
    pub(super) request: Box<[u8]>,
    /// Of the first request; no other round of this edge ever has one of these.
    pub(super) first_sequence: u64,
    pub(super) round: Round,
    /// Where the probe follows the round.
    pub(super) probe: Option<Probed>,
    /// The last refusal of a send.
    pub(super) refused: Option<io::Error>,
}

/// What requests go over.
#[derive(Debug)]
pub(super) enum Link {
    /// A socket that other edges may have too.
    Datagrams {
        socket: Arc<UdpSocket>,
        to: SocketAddr,
    },
    /// One of the round's own.
    Connection(Connection),
}

/// What the probe needs of a round, and the round of the probe.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) watch: Watch,
    pub(super) stamps: Stamps,
    pub(super) socket_rx: Seen,
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Pacer {
    inbox: Arc<Mutex<Inbox>>,
    wake: UnixStream,
    thread: Option<Inside<()>>,
}

#[derive(Debug, Default)]
struct Inbox {
    jobs: Vec<Job>,
    ended: bool,
}

impl Pacer {
    /// Starts the thread, which has no capabilities. Rounds that are over go to `done`, and those
    /// that are not when the thread ends.
    pub(super) fn start(done: Sender<Event>) -> io::Result<Self> {
        let inbox = Arc::<Mutex<Inbox>>::default();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let thread = {
            let inbox = Arc::clone(&inbox);
            // Its sockets are inside other namespaces; what matters is that it holds nothing.
            Netns::own()?.on_thread("nettoll-light", move || {
                Paced::new(inbox, woken, done).run();
            })?
        };
        Ok(Self {
            inbox,
            wake,
            thread: Some(thread),
        })
    }

    /// Makes a round.
    pub(super) fn begin(&self, job: Job) {
        lock(&self.inbox).jobs.push(job);
        self.wake();
    }

    fn wake(&self) {
        // Where there is no room for a further byte, there are enough to wake the thread.
        let _ = (&self.wake).write(&[1]);
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        lock(&self.inbox).ended = true;
        self.wake();
        if let Some(Err(error)) = self.thread.take().map(Inside::join) {
            tracing::error!(%error, "the light rounds failed");
        }
    }
}

/// The thread's own.
struct Paced {
    inbox: Arc<Mutex<Inbox>>,
    woken: UnixStream,
    done: Sender<Event>,
    jobs: Vec<Job>,
    waiting: wait::Waiting,
    room: Vec<u8>,
}

impl Paced {
    fn new(inbox: Arc<Mutex<Inbox>>, woken: UnixStream, done: Sender<Event>) -> Self {
        Self {
            inbox,
            woken,
            done,
            jobs: Vec::new(),
            waiting: wait::Waiting::default(),
            room: vec![0; DATAGRAM_BYTES],
        }
    }

    fn run(mut self) {
        be_punctual();
        while self.take_jobs() {
            self.jobs.iter_mut().for_each(Job::send_due);
            self.end_rounds();
            let wants =
                std::iter::once(Want::read(&self.woken)).chain(self.jobs.iter().map(Job::want));
            let until_ns = self.jobs.iter().map(|job| job.round.wake_ns()).min();
            if let Err(error) = self.waiting.wait(wants, until_ns) {
                tracing::warn!(%error, "cannot wait for light traffic");
                sleep(REST);
                continue;
            }
            for index in 0..self.jobs.len() {
                if self.waiting.is_ready(index + 1) {
                    self.receive(index);
                }
            }
            if self.waiting.is_ready(0) {
                let mut bytes = [0; 64];
                while matches!((&self.woken).read(&mut bytes), Ok(length) if length == bytes.len())
                {
                }
            }
        }
        self.give_back();
    }

    /// The probe follows the rounds that are open, and to end that needs privilege.
    fn give_back(&mut self) {
        let mut inbox = lock(&self.inbox);
        for job in self.jobs.drain(..).chain(inbox.jobs.drain(..)) {
            // The keeper drops it with its end of the channel.
            let _ = self.done.send(Event::Done(Box::new(job)));
        }
    }

    /// False: it is time to end.
    fn take_jobs(&mut self) -> bool {
        let mut inbox = lock(&self.inbox);
        for job in inbox.jobs.drain(..) {
            if let Some(probe) = &job.probe {
                probe.stamps.mark(true);
            }
            self.jobs.push(job);
        }
        !inbox.ended
    }

    fn end_rounds(&mut self) {
        let now = now_ns();
        for job in self.jobs.extract_if(.., |job| job.round.is_over(now)) {
            if let Some(probe) = &job.probe {
                probe.stamps.mark(false);
            }
            // Nobody wants it if the keeper is gone.
            let _ = self.done.send(Event::Done(Box::new(job)));
        }
    }

    /// Takes what has arrived on the socket of a job, for all jobs with this socket. What is left
    /// is taken after what is due is sent.
    fn receive(&mut self, index: usize) {
        let socket = match self.jobs.get_mut(index) {
            Some(Job {
                link: Link::Datagrams { socket, .. },
                ..
            }) => Arc::clone(socket),
            Some(job) => return job.receive(&mut self.room),
            None => return,
        };
        for _ in 0..AT_ONCE {
            match socket.recv_from(&mut self.room) {
                Ok((length, from)) => {
                    let now = now_ns();
                    let answered = self.room.get(..length).and_then(message::answered);
                    if let Some(header) = answered {
                        let mut jobs = self.jobs.iter_mut();
                        if let Some(job) =
                            jobs.find(|job| job.run == header.run && job.goes_over(&socket, from))
                        {
                            job.answered(header.sequence, now);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing more, or an error that a datagram met on its way: its loss is counted.
                Err(_) => return,
            }
        }
    }
}

impl Job {
    /// What it waits for.
    fn want(&self) -> Want {
        match &self.link {
            Link::Datagrams { socket, .. } => Want::read(socket),
            Link::Connection(connection) => connection.want(self.round.sent()),
        }
    }

    /// Whether its requests go over this socket to there.
    fn goes_over(&self, socket: &Arc<UdpSocket>, to: SocketAddr) -> bool {
        match &self.link {
            Link::Datagrams {
                socket: own,
                to: other,
            } => Arc::ptr_eq(own, socket) && *other == to,
            Link::Connection(_) => false,
        }
    }

    /// Why requests could not be sent, where that was so.
    pub(super) fn refused(&self) -> Option<String> {
        match &self.link {
            Link::Datagrams { .. } => self.refused.as_ref().map(io::Error::to_string),
            Link::Connection(connection) => connection.failure(),
        }
    }

    fn send_due(&mut self) {
        loop {
            let now = now_ns();
            let Some(number) = self.round.send(now) else {
                break;
            };
            let Link::Datagrams { socket, to } = &self.link else {
                continue;
            };
            set_sequence(&mut self.request, self.first_sequence + number);
            if let Some(probe) = &self.probe {
                probe.stamps.sending(Direction::Request, now);
            }
            if let Err(error) = socket.send_to(&self.request, *to) {
                self.refused = Some(error);
            }
        }
        if let Link::Connection(connection) = &mut self.link {
            connection.send(&mut self.request, self.first_sequence, self.round.sent());
        }
    }

    /// Takes what has arrived on its own connection.
    fn receive(&mut self, room: &mut [u8]) {
        let Link::Connection(connection) = &mut self.link else {
            return;
        };
        let (run, first_sequence, round) = (self.run, self.first_sequence, &mut self.round);
        connection.receive(room, self.request.len(), |header| {
            let number = header.sequence.checked_sub(first_sequence);
            if let Some(number) = number.filter(|_| header.run == run) {
                round.answer(number, now_ns());
            }
        });
    }

    fn answered(&mut self, sequence: u64, now_ns: u64) {
        let number = sequence.checked_sub(self.first_sequence);
        let counts = number.is_some_and(|number| self.round.answer(number, now_ns));
        if let Some(probe) = self.probe.as_ref().filter(|_| counts)
            && let Some(ns) = probe.stamps.received(Direction::Response, now_ns)
        {
            probe.socket_rx.record(ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::light::round::Pace;

    /// A job of one request to itself.
    fn job(socket: &Arc<UdpSocket>) -> Job {
        let pace = Pace {
            requests: 1,
            interval_ns: 1,
            timeout_ns: 1_000_000_000,
        };
        Job {
            token: 1,
            link: Link::Datagrams {
                socket: Arc::clone(socket),
                to: socket.local_addr().unwrap(),
            },
            run: 7,
            request: message::request(7, 64),
            first_sequence: 9,
            round: Round::new(pace, 0),
            probe: None,
            refused: None,
        }
    }

    #[test]
    fn a_flood_of_datagrams_keeps_no_request_waiting() {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let flood = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..AT_ONCE + 5 {
            flood.send_to(b"what others send", address).unwrap();
        }
        let mut paced = Paced::new(Arc::default(), UnixStream::pair().unwrap().1, channel().0);
        paced.jobs.push(job(&socket));
        paced.receive(0);
        let mut left = 0;
        while socket.recv(&mut paced.room).is_ok() {
            left += 1;
        }
        assert_eq!(left, 5);
    }

    #[test]
    fn an_answer_is_from_whom_was_asked_and_to_what_was_asked() {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let mut paced = Paced::new(Arc::default(), UnixStream::pair().unwrap().1, channel().0);
        paced.jobs.push(job(&socket));
        paced.jobs.iter_mut().for_each(Job::send_due);
        socket.recv(&mut paced.room).unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (from, run, sequence, answers) in [
            (&other, 7, 9, 0),
            (&*socket, 8, 9, 0),
            (&*socket, 7, 8, 0),
            (&*socket, 7, 10, 0),
            (&*socket, 7, 9, 1),
            (&*socket, 7, 9, 1),
        ] {
            let mut answer = message::request(run, 64);
            set_sequence(&mut answer, sequence);
            message::answer(&mut answer);
            from.send_to(&answer, address).unwrap();
            paced.receive(0);
            let answered = paced.jobs.iter().map(|job| job.round.tally().answered);
            assert_eq!(answered.sum::<u64>(), answers, "{run} {sequence}");
        }
    }
}
