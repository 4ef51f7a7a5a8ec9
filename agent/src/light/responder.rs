//! Answers the light requests of other nodes on one port, on a thread inside the endpoint's
//! network namespace.

use std::{
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::sleep,
    time::Duration,
};

use nettoll_core::api::{LightResponder, Protocol};
use socket2::Socket;

use super::{
    board::Board,
    echo,
    message::{self, Asked},
    sockets::never_fragment,
};
use crate::{
    netns::{Inside, Netns},
    traffic::{Stop, TrafficError, now_ns, open},
};

/// Most payload of a datagram.
const DATAGRAM_BYTES: usize = 65_536;
/// After an error that may come again at once.
pub(super) const REST: Duration = Duration::from_millis(100);

/// A responder that answers until it is dropped.
#[derive(Debug)]
pub(super) struct Responder {
    netns: Netns,
    stop: Stop,
    thread: Option<Inside<()>>,
    answered: Arc<AtomicU64>,
}

impl Responder {
    /// Opens the port and answers from now on; `all` counts with it, `board` hears of rounds.
    pub(super) fn open(
        netns: Netns,
        responder: &LightResponder,
        all: &Arc<AtomicU64>,
        board: Arc<Board>,
    ) -> Result<Self, TrafficError> {
        let address = SocketAddr::new(responder.place.address, responder.port);
        let stop = Stop::default();
        let protocol = responder.protocol;
        let socket = open(&netns, protocol, address, None)?;
        let ready = match protocol {
            Protocol::Udp => never_fragment(&socket),
            Protocol::Tcp => {
                (socket.listen(echo::BACKLOG)).and_then(|()| socket.set_nonblocking(true))
            }
        };
        ready.map_err(|source| TrafficError::Open { address, source })?;
        let socket = stop.watch(socket);
        let answered = Arc::<AtomicU64>::default();
        let counters = [Arc::clone(&answered), Arc::clone(all)];
        let ended = stop.clone();
        let thread = netns.on_thread("nettoll-echo", move || {
            let count = |counted| {
                for counter in &counters {
                    counter.fetch_add(counted, Relaxed);
                }
            };
            match protocol {
                Protocol::Udp => serve(&socket, &ended, &board, count),
                Protocol::Tcp => echo::serve(&socket, &ended, count),
            }
        });
        Ok(Self {
            thread: Some(thread.map_err(TrafficError::Thread)?),
            netns,
            stop,
            answered,
        })
    }

    /// Whether its pod is still there.
    pub(super) fn is_there(&self) -> bool {
        self.netns.is_there()
    }

    /// Requests answered so far, for whoever wants to look later.
    pub(super) fn answered(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.answered)
    }
}

impl Responder {
    fn end(&mut self) -> io::Result<()> {
        self.stop.stop();
        self.thread.take().map_or(Ok(()), Inside::join)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "a light responder failed");
        }
    }
}

fn serve(socket: &Socket, stop: &Stop, board: &Board, count: impl Fn(u64)) {
    let mut room = vec![MaybeUninit::new(0); DATAGRAM_BYTES];
    while !stop.ended() {
        // Not by the standard library's sockets: those panic when a socket is shut down, for
        // then there is no address.
        match socket.recv_from(&mut room) {
            Ok((length, client)) => {
                let received_ns = now_ns();
                let Some((from, message)) =
                    client.as_socket().zip(room.get_mut(..length).map(received))
                else {
                    continue;
                };
                match message::asked(message) {
                    Some(Asked::Request(header)) => {
                        message::answer(message);
                        board.answering(from, header, received_ns);
                        // A response that cannot be sent is a loss, which the client counts.
                        count(u64::from(socket.send_to(message, &client).is_ok()));
                    }
                    Some(Asked::Announcement(round)) => board.announce(from, round, received_ns),
                    None => {}
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if stop.ended() => {}
            Err(error) => {
                tracing::debug!(%error, "a light responder cannot receive");
                sleep(REST);
            }
        }
    }
}

#[expect(
    unsafe_code,
    reason = "socket2 receives into what need not be initialized"
)]
fn received(bytes: &mut [MaybeUninit<u8>]) -> &mut [u8] {
    // SAFETY: all of them were initialized when the room was made, and receiving into them never
    // undoes that.
    unsafe { bytes.assume_init_mut() }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream, UdpSocket},
    };

    use super::*;
    use nettoll_core::api::LightPlace;

    const PATIENCE: Option<Duration> = Some(Duration::from_secs(5));

    /// A responder at a port of 127.0.0.1.
    fn open(protocol: Protocol, port: u16, all: &Arc<AtomicU64>) -> Responder {
        let responder = LightResponder {
            place: LightPlace {
                endpoint: "node/n1".parse().unwrap(),
                pod_uid: None,
                address: "127.0.0.1".parse().unwrap(),
            },
            port,
            protocol,
        };
        let board = Arc::new(Board::new(std::sync::mpsc::channel().0));
        Responder::open(Netns::own().unwrap(), &responder, all, board).unwrap()
    }

    #[test]
    fn it_answers_requests_and_ends_when_dropped() {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(PATIENCE).unwrap();
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let all = Arc::default();
        let mut open = open(Protocol::Udp, address.port(), &all);
        let request = message::request(9, 64);
        let mut answer = [0; 100];
        client.send_to(b"what others send", address).unwrap();
        client.send_to(&request, address).unwrap();
        let length = client.recv(&mut answer).unwrap();
        let answered = message::answered(&answer[..length]).unwrap();
        assert_eq!((answered.run, answered.sequence), (9, 0));
        assert_eq!(length, 64);
        assert!(open.is_there());
        let answered = open.answered();
        open.end().unwrap();
        drop(open);
        assert_eq!((answered.load(Relaxed), all.load(Relaxed)), (1, 1));
        UdpSocket::bind(address).unwrap();
    }

    #[test]
    fn it_answers_on_many_connections_and_those_that_are_silent_make_room() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let all = Arc::default();
        let mut open = open(Protocol::Tcp, address.port(), &all);
        let connect = || {
            let client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(PATIENCE).unwrap();
            client
        };
        let ask = |client: &mut TcpStream| {
            let mut answer = [0; 64];
            client.write_all(&message::request(9, 64)).unwrap();
            client.read_exact(&mut answer).map(|()| answer)
        };
        let mut silent = connect();
        let mut stranger = connect();
        stranger.write_all(&[b'x'; 64]).unwrap();
        assert!(!matches!(stranger.read(&mut [0]), Ok(1..)), "hung up on");
        let mut clients: Vec<_> = (0..63).map(|_| connect()).collect();
        for client in &mut clients {
            let answer = ask(client).unwrap();
            assert_eq!(message::answered(&answer).unwrap().run, 9);
        }
        ask(&mut connect()).unwrap();
        assert!(ask(&mut silent).is_err(), "it made room");
        assert!(clients.iter_mut().all(|client| ask(client).is_ok()));
        let answered = open.answered();
        open.end().unwrap();
        drop(open);
        assert!(clients.iter_mut().all(|client| ask(client).is_err()));
        let both = (answered.load(Relaxed), all.load(Relaxed));
        assert_eq!(both, (127, 127));
        assert!(TcpStream::connect(address).is_err());
    }
}
