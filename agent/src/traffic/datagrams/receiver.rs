//! The server of `udp_stream`: counts what arrives.

use std::{
    io::{self, Write},
    os::fd::AsRawFd,
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use nettoll_core::datagrams::{Arrivals, Arrived};
use socket2::Socket;

use super::{
    super::{
        Plan, Stop,
        clock::{be_punctual, now_ns, sleep_until},
        header::{HEADER_BYTES, message, same_run},
        server::{Shared, lock},
        tcp::unread,
    },
    Kind,
    batch::{BATCH, Batch},
    read,
};

/// For so long nothing comes when all have arrived: longer than a reader that waits for its processor.
const QUIET_NS: u64 = 50_000_000;
/// How often that is looked at.
const QUIET_INTERVAL: Duration = Duration::from_millis(1);
/// And for how long at most, ns.
const QUIET_PATIENCE_NS: u64 = 5_000_000_000;
/// As fast as possible, the receiver looks so often: one that waited for each datagram anew would have the
/// sender's processor wake it up for each, which takes it longer than the datagram.
const GATHER_NS: u64 = 100_000;
/// What the socket holds, so that a reader which waits for its processor loses nothing: what the path
/// delivers is measured, and not who is faster.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Gives the socket room. Beyond `net.core.rmem_max` that takes the calling thread's `CAP_NET_ADMIN`;
/// without it the kernel gives as much as that allows.
pub(in super::super) fn make_room(socket: &Socket) -> io::Result<()> {
    let bytes = RECEIVE_BUFFER as libc::c_int;
    #[expect(
        unsafe_code,
        reason = "SO_RCVBUFFORCE has no safe wrapper among our dependencies"
    )]
    // SAFETY: the option is one int, to which the pointer is.
    let forced = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as libc::socklen_t,
        )
    };
    if forced == 0 {
        return Ok(());
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER)
}

/// How many datagrams a socket had no room for so far (`sk_drops`); `None` where the kernel does not tell.
fn without_room(socket: &Socket) -> Option<u32> {
    let mut sums = [0_u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut length = size_of_val(&sums) as libc::socklen_t;
    #[expect(
        unsafe_code,
        reason = "SO_MEMINFO has no safe wrapper among our dependencies"
    )]
    // SAFETY: the kernel writes as many bytes as `length` says at most, and there are as many.
    let asked = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            sums.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (asked == 0).then(|| sums.last().copied()).flatten()
}

/// What arrives of a round: counted by the thread that receives, taken by who ends the round.
#[derive(Debug, Default)]
pub(in super::super) struct Inbox {
    arrivals: Mutex<Arrivals>,
    /// When the last datagram was taken.
    came_ns: AtomicU64,
    /// What the socket had had no room for when the measured part began.
    without_room: AtomicU32,
}

impl Inbox {
    /// A round begins.
    pub(in super::super) fn clear(&self, socket: &Socket) {
        *lock(&self.arrivals) = Arrivals::default();
        self.look_at_room(socket);
    }

    fn look_at_room(&self, socket: &Socket) {
        let so_far = without_room(socket).unwrap_or_default();
        self.without_room.store(so_far, Ordering::Relaxed);
    }

    /// Waits until nothing has come for a while, or `ended`. Says what went wrong.
    pub(in super::super) fn quiet(
        &self,
        socket: &Socket,
        ended: impl Fn() -> bool,
    ) -> Option<String> {
        let began = now_ns();
        loop {
            let last = self.came_ns.load(Ordering::Acquire).max(began);
            let now = now_ns();
            let silent = now.saturating_sub(last) >= QUIET_NS;
            match unread(socket) {
                _ if ended() => return None,
                Ok(0) if silent => return None,
                Ok(_) if now - began > QUIET_PATIENCE_NS => {
                    return Some("datagrams came long after the last was sent".to_owned());
                }
                Ok(_) => thread::sleep(QUIET_INTERVAL),
                Err(error) => return Some(format!("cannot ask the server's socket: {error}")),
            }
        }
    }

    /// All that came since the round began.
    pub(in super::super) fn arrived(&self, socket: &Socket) -> Arrived {
        let before = self.without_room.load(Ordering::Relaxed);
        Arrived {
            without_room: without_room(socket).map(|now| now.wrapping_sub(before).into()),
            ..lock(&self.arrivals).arrived()
        }
    }
}

/// Receives one flow's datagrams until it ends.
pub(in super::super) fn receive(
    socket: &Socket,
    shared: &Shared,
    plan: &Plan,
    stop: &Stop,
) -> io::Result<()> {
    let like = message(plan.run, HEADER_BYTES);
    let mut batch = Batch::of(&message(plan.run, plan.request_bytes), BATCH);
    let mut rounds = Rounds::default();
    let mut measuring = false;
    let floods = plan.rate_bits_per_second.is_none();
    be_punctual();
    loop {
        let datagrams = match batch.receive(socket) {
            Ok(datagrams) => datagrams,
            Err(_) if stop.ended() => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // An answer met a closed port: that client's affair.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        if stop.ended() {
            return Ok(());
        }
        let now = now_ns();
        let open = shared.open_round();
        if let Some(open) = open
            && rounds.open(open)
        {
            measuring = false;
        }
        let mut arrivals = lock(&shared.inbox.arrivals);
        for datagram in datagrams.filter(|datagram| same_run(datagram, &like)) {
            let Some((kind, number, sent_ns)) = read(datagram) else {
                continue;
            };
            match kind {
                Kind::Hello => {
                    let hello = datagram.get(..HEADER_BYTES).unwrap_or_default();
                    // Who gets no answer asks again.
                    let _ = (&*socket).write(hello);
                }
                Kind::Data { round, measured } if open.is_some() && rounds.is_of(round) => {
                    if measured && !measuring {
                        measuring = true;
                        shared.inbox.look_at_room(socket);
                        shared.begin_measuring(plan.server_marks);
                    }
                    if measured {
                        arrivals.add(number, datagram.len() as u64, sent_ns, now);
                    }
                }
                Kind::Data { .. } => {}
            }
        }
        drop(arrivals);
        shared.inbox.came_ns.store(now, Ordering::Release);
        if floods && open.is_some() {
            sleep_until(now + GATHER_NS);
        }
    }
}

/// Tells a round's datagrams from those that were too long on their way in an earlier one.
#[derive(Debug, Default)]
struct Rounds {
    /// The server's number of the round.
    open: u64,
    /// The client's, and that of the last one before.
    round: Option<u8>,
    before: Option<u8>,
}

impl Rounds {
    /// That round is open here. Answers whether it was not before.
    fn open(&mut self, open: u64) -> bool {
        let new = open != self.open;
        if new {
            self.open = open;
            self.before = self.round.take().or(self.before);
        }
        new
    }

    /// Whether a datagram of that round of the client is of the open one.
    #[inline]
    fn is_of(&mut self, round: u8) -> bool {
        let later = self.before.is_none_or(|before| {
            let ahead = (round + Kind::ROUNDS - before) % Kind::ROUNDS;
            (1..=Kind::ROUNDS / 2).contains(&ahead)
        });
        if later {
            self.round = Some(round);
        }
        later
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_is_of_no_round() {
        let mut rounds = Rounds::default();
        assert!(rounds.open(1) && !rounds.open(1));
        assert!(rounds.is_of(118));
        assert!(rounds.open(2));
        // Of the round before, and of this one.
        assert!(!rounds.is_of(118) && rounds.is_of(119));
        assert!(rounds.open(3));
        // Of both before; the numbers begin anew.
        assert!(!rounds.is_of(118) && !rounds.is_of(119) && rounds.is_of(0));
        // A round of which nothing came.
        assert!(rounds.open(4) && rounds.open(5));
        assert!(!rounds.is_of(0) && !rounds.is_of(119) && rounds.is_of(2));
    }

    #[test]
    fn a_socket_says_what_it_had_no_room_for() {
        let (from, to) = (
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap(),
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        let (address, to) = (to.local_addr().unwrap(), Socket::from(to));
        // The kernel's least.
        to.set_recv_buffer_size(1).unwrap();
        assert_eq!(without_room(&to), Some(0));
        for _ in 0..100 {
            from.send_to(&[0; 1_000], address).unwrap();
        }
        let dropped = without_room(&to).unwrap();
        assert!((50..100).contains(&dropped), "{dropped}");
        make_room(&to).unwrap();
        from.send_to(&[0; 1_000], address).unwrap();
        assert_eq!(without_room(&to), Some(dropped));
    }
}
