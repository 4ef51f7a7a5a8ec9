//! The client's end of a round's own TCP connection. Nothing here blocks.
//!
//! Requests go out in order. One that the kernel does not take at once, because the connection is
//! not there yet or is held up, waits; its time counts. A connection that fails is not opened again
//! in its round.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::SocketAddr,
};

use socket2::Socket;

use super::{
    message::{self, Header},
    wait::Want,
};
use crate::traffic::header::set_sequence;

/// A connection, its requests that are under way and the answer that is coming.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    /// Requests that the kernel has as a whole.
    written: u64,
    /// Bytes of the next one that it has.
    part: usize,
    /// What there is of the next answer.
    answer: Vec<u8>,
    /// The kernel took something: it is connected.
    connected: bool,
    /// Why it is of no use any more.
    broken: Option<io::Error>,
}

impl Connection {
    /// Begins to connect a bound socket.
    pub(super) fn begin(socket: Socket, to: SocketAddr) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let broken = match socket.connect(&to.into()) {
            Ok(()) => None,
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => None,
            Err(error) => Some(error),
        };
        Ok(Self {
            socket,
            written: 0,
            part: 0,
            answer: Vec::new(),
            connected: false,
            broken,
        })
    }

    /// What it waits for, with so many requests to be sent in all.
    pub(super) fn want(&self, due: u64) -> Want {
        if self.broken.is_some() {
            Want::nothing()
        } else if self.written < due {
            Want::both(&self.socket)
        } else {
            Want::read(&self.socket)
        }
    }

    /// Sends what is due and not sent yet, as far as the kernel takes it. Requests are numbered from
    /// `first_sequence`.
    pub(super) fn send(&mut self, request: &mut [u8], first_sequence: u64, due: u64) {
        while self.broken.is_none() && self.written < due {
            set_sequence(request, first_sequence + self.written);
            let rest = request.get(self.part..).unwrap_or_default();
            match (&self.socket).write(rest) {
                Ok(bytes) => {
                    self.connected = true;
                    self.part += bytes;
                    if bytes == rest.len() {
                        (self.written, self.part) = (self.written + 1, 0);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => self.broken = Some(error),
            }
        }
    }

    /// Reads once, and gives the answers that are whole: each as long as a request.
    pub(super) fn receive(
        &mut self,
        room: &mut [u8],
        length: usize,
        mut answered: impl FnMut(Header),
    ) {
        let bytes = match (&self.socket).read(room) {
            Ok(0) => {
                let text = "the other side closed it";
                self.broken = Some(io::Error::new(ErrorKind::UnexpectedEof, text));
                return;
            }
            Ok(bytes) => bytes,
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
                    self.broken = Some(error);
                }
                return;
            }
        };
        let mut rest = room.get(..bytes).unwrap_or_default();
        while !rest.is_empty() {
            let missing = length.saturating_sub(self.answer.len());
            let (now, later) = rest.split_at(missing.min(rest.len()));
            self.answer.extend_from_slice(now);
            rest = later;
            if self.answer.len() < length {
                return;
            }
            let Some(header) = message::answered(&self.answer) else {
                let text = "something else answers on this port";
                self.broken = Some(io::Error::new(ErrorKind::InvalidData, text));
                return;
            };
            answered(header);
            self.answer.clear();
        }
    }

    /// Why requests could not be sent or answered, where that was so.
    pub(super) fn failure(&self) -> Option<String> {
        match (&self.broken, self.connected) {
            (Some(error), true) => Some(format!("the connection broke: {error}")),
            (Some(error), false) => Some(format!("no connection: {error}")),
            (None, false) => Some("no connection until the round was over".to_owned()),
            (None, true) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        thread::sleep,
        time::{Duration, Instant},
    };

    use super::*;
    use socket2::{Domain, Type};

    const FIRST: u64 = 1_000;

    fn begin(to: SocketAddr) -> Connection {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        Connection::begin(socket, to).unwrap()
    }

    fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = begin(listener.local_addr().unwrap());
        (connection, listener.accept().unwrap().0)
    }

    /// The sequences that are answered, until so many are or the connection is broken.
    fn answers(connection: &mut Connection, count: usize) -> Vec<u64> {
        let (mut room, mut sequences) = ([0; 4_096], Vec::new());
        let begin = Instant::now();
        while sequences.len() < count && connection.broken.is_none() {
            assert!(begin.elapsed() < Duration::from_secs(10), "{connection:?}");
            connection.receive(&mut room, 64, |header| sequences.push(header.sequence));
            sleep(Duration::from_millis(1));
        }
        sequences
    }

    #[test]
    fn requests_are_sent_once_and_answers_may_come_in_pieces() {
        let (mut connection, mut server) = pair();
        let mut request = message::request(7, 64);
        connection.send(&mut request, FIRST, 1);
        connection.send(&mut request, FIRST, 3);
        connection.send(&mut request, FIRST, 3);
        let mut all = [0; 3 * 64];
        server.read_exact(&mut all).unwrap();
        server.set_nonblocking(true).unwrap();
        let more = server.read(&mut [0]).unwrap_err();
        assert_eq!(more.kind(), ErrorKind::WouldBlock);
        all.chunks_mut(64).for_each(message::answer);
        let (begin, end) = all.split_at(100);
        server.write_all(begin).unwrap();
        assert_eq!(answers(&mut connection, 1), [FIRST]);
        server.write_all(end).unwrap();
        assert_eq!(answers(&mut connection, 2), [FIRST + 1, FIRST + 2]);
        assert_eq!(connection.failure(), None);
    }

    #[test]
    fn what_the_kernel_does_not_take_waits() {
        let (mut connection, mut server) = pair();
        let mut request = message::request(7, 65_507);
        connection.send(&mut request, FIRST, 1_000);
        assert!(connection.written < 1_000, "65 MB in a socket's buffers");
        let mut message = vec![0; 65_507];
        for number in 0..1_000 {
            server.set_nonblocking(false).unwrap();
            let mut have = 0;
            while have < message.len() {
                connection.send(&mut request, FIRST, 1_000);
                have += server.read(&mut message[have..]).unwrap();
            }
            message::answer(&mut message);
            let header = message::answered(&message).unwrap();
            assert_eq!((header.run, header.sequence), (7, FIRST + number));
        }
    }

    #[test]
    fn why_there_is_no_connection_is_told() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = free.local_addr().unwrap();
        drop(free);
        let mut refused = begin(to);
        assert!(answers(&mut refused, 1).is_empty());
        let why = refused.failure().unwrap();
        assert!(why.contains("no connection: Connection refused"), "{why}");
        refused.send(&mut message::request(7, 64), FIRST, 5);
        assert_eq!(refused.written, 0);

        let (mut closed, server) = pair();
        closed.send(&mut message::request(7, 64), FIRST, 1);
        drop(server);
        answers(&mut closed, 1);
        let why = closed.failure().unwrap();
        assert!(why.contains("the connection broke: "), "{why}");

        let (mut other, mut server) = pair();
        other.send(&mut message::request(7, 64), FIRST, 1);
        server.write_all(&[b'x'; 64]).unwrap();
        assert!(answers(&mut other, 1).is_empty());
        let why = other.failure().unwrap();
        assert!(why.contains("something else answers"), "{why}");
    }
}
