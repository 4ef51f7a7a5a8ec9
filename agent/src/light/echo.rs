//! Answers the light requests of connections: of a bounded number of them, one message of each at a
//! time. Whoever says anything else, or nothing for long, is hung up on.

use std::{
    io::{self, ErrorKind, Read, Write},
    thread::sleep,
};

use socket2::Socket;

use super::{
    message::{self, Asked, SHORTEST},
    responder::REST,
    wait::{Waiting, Want},
};
use crate::traffic::{Stop, now_ns};

/// Most connections at a time. A further one takes the place of the one that was silent for longest.
const CONNECTIONS: usize = 64;
/// Connections that are not accepted yet.
pub(super) const BACKLOG: i32 = 64;
/// A connection that was silent for so long is closed. In a round there is a request every second
/// at least, and after 10 s without an answer it is lost.
const SILENT_NS: u64 = 15_000_000_000;

/// Answers until the listening socket, which does not block, is shut down.
pub(super) fn serve(listener: &Socket, stop: &Stop, count: impl Fn(u64)) {
    let mut connections: Vec<Connection> = Vec::new();
    let mut waiting = Waiting::default();
    while !stop.ended() {
        let wants = connections.iter().map(Connection::want);
        let wants = std::iter::once(Want::read(listener)).chain(wants);
        let until_ns = connections.iter().map(Connection::until_ns).min();
        if let Err(error) = waiting.wait(wants, until_ns) {
            tracing::debug!(%error, "a light responder cannot wait");
            sleep(REST);
            continue;
        }
        let now = now_ns();
        let mut index = 0;
        connections.retain_mut(|connection| {
            index += 1;
            if !waiting.is_ready(index) {
                return now < connection.until_ns();
            }
            connection.heard_ns = now;
            let answered = connection.echo.go(&mut &connection.socket);
            count(u64::from(matches!(answered, Ok(true))));
            answered.is_ok()
        });
        if waiting.is_ready(0) {
            match accept(listener) {
                Ok(connection) => add(&mut connections, connection),
                Err(_) if stop.ended() => {}
                // Another one may have given up meanwhile.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::debug!(%error, "a light responder cannot accept");
                    sleep(REST);
                }
            }
        }
    }
}

fn accept(listener: &Socket) -> io::Result<Connection> {
    let (socket, _) = listener.accept()?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    Ok(Connection {
        socket,
        echo: Echo::default(),
        heard_ns: now_ns(),
    })
}

fn add(connections: &mut Vec<Connection>, connection: Connection) {
    if connections.len() >= CONNECTIONS {
        let silent = (connections.iter().enumerate()).min_by_key(|(_, known)| known.heard_ns);
        if let Some(index) = silent.map(|(index, _)| index) {
            connections.swap_remove(index);
        }
    }
    connections.push(connection);
}

#[derive(Debug)]
struct Connection {
    socket: Socket,
    echo: Echo,
    /// When something was last read or written.
    heard_ns: u64,
}

impl Connection {
    fn want(&self) -> Want {
        if self.echo.answers {
            Want::write(&self.socket)
        } else {
            Want::read(&self.socket)
        }
    }

    fn until_ns(&self) -> u64 {
        self.heard_ns + SILENT_NS
    }
}

/// One message of a connection: a request that is being read, then the answer that is being written.
/// All are as long as the first one says that it is.
#[derive(Debug)]
struct Echo {
    message: Vec<u8>,
    /// Bytes that are read, or written.
    done: usize,
    /// The length is known.
    known: bool,
    /// It is an answer.
    answers: bool,
}

impl Default for Echo {
    fn default() -> Self {
        Self {
            message: vec![0; SHORTEST],
            done: 0,
            known: false,
            answers: false,
        }
    }
}

impl Echo {
    /// Goes on until a message is answered (true), or there is nothing to read or no room to write.
    ///
    /// # Errors
    /// The connection is of no use any more.
    fn go(&mut self, stream: &mut (impl Read + Write)) -> io::Result<bool> {
        loop {
            let rest = self.message.get_mut(self.done..).unwrap_or_default();
            let went = if self.answers {
                stream.write(rest)
            } else {
                stream.read(rest)
            };
            match went {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => self.done += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            if self.done < self.message.len() {
                continue;
            }
            if self.answers {
                (self.answers, self.done) = (false, 0);
                return Ok(true);
            }
            self.read()?;
        }
    }

    /// There is all that was to be read.
    fn read(&mut self) -> io::Result<()> {
        let request = matches!(message::asked(&self.message), Some(Asked::Request(_)));
        let length = message::length(&self.message).filter(|_| request);
        let length = length.ok_or(ErrorKind::InvalidData)?;
        if !self.known {
            self.known = true;
            self.message.resize(length, 0);
        }
        if length != self.message.len() {
            return Err(ErrorKind::InvalidData.into());
        }
        if self.done == length {
            message::answer(&mut self.message);
            (self.answers, self.done) = (true, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::header::set_sequence;

    /// What comes in, in pieces of so many bytes, and what goes out, with room for so many.
    struct Wire {
        come: Vec<u8>,
        piece: usize,
        gone: Vec<u8>,
        room: usize,
    }

    impl Read for Wire {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let bytes = into.len().min(self.piece).min(self.come.len());
            if bytes == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            into[..bytes].copy_from_slice(&self.come[..bytes]);
            self.come.drain(..bytes);
            Ok(bytes)
        }
    }

    impl Write for Wire {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            let bytes = from.len().min(self.room);
            if bytes == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.room -= bytes;
            self.gone.extend_from_slice(&from[..bytes]);
            Ok(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn wire(requests: &[(u64, usize)], piece: usize, room: usize) -> Wire {
        let request = |&(sequence, bytes): &(u64, usize)| {
            let mut request = message::request(7, bytes);
            set_sequence(&mut request, sequence);
            request.into_vec()
        };
        Wire {
            come: requests.iter().flat_map(request).collect(),
            piece,
            gone: Vec::new(),
            room,
        }
    }

    #[test]
    fn each_request_is_answered_in_whatever_pieces_it_comes() {
        for bytes in [24, 64, 9_000] {
            for piece in [1, 23, 24, 100_000] {
                let mut wire = wire(&[(1, bytes), (2, bytes), (3, bytes)], piece, usize::MAX);
                let mut echo = Echo::default();
                let answered = (0..4).map(|_| echo.go(&mut wire).unwrap());
                assert_eq!(answered.collect::<Vec<_>>(), [true, true, true, false]);
                let answers = wire.gone.chunks(bytes).map(message::answered);
                let sequences: Vec<_> = answers.map(|header| header.unwrap().sequence).collect();
                assert_eq!(sequences, [1, 2, 3]);
            }
        }
    }

    #[test]
    fn who_does_not_read_is_not_read_from() {
        let mut wire = wire(&[(1, 64), (2, 64)], 1_000, 40);
        let mut echo = Echo::default();
        assert!(!echo.go(&mut wire).unwrap() && !echo.go(&mut wire).unwrap());
        assert_eq!((wire.come.len(), wire.gone.len()), (64, 40));
        assert!(echo.answers);
        wire.room = 1_000;
        assert!(echo.go(&mut wire).unwrap() && echo.go(&mut wire).unwrap());
        assert_eq!(wire.gone.len(), 128);
    }

    #[test]
    fn whoever_says_anything_else_is_hung_up_on() {
        let mut answer = message::request(7, 64);
        message::answer(&mut answer);
        let mut endless = message::request(7, 64);
        endless[17..21].copy_from_slice(&u32::MAX.to_be_bytes());
        let mut short = message::request(7, 64);
        short[17..21].copy_from_slice(&23_u32.to_be_bytes());
        let strangers: [&[u8]; 5] = [
            b"GET / HTTP/1.1\r\nHost: nettoll\r\n\r\n",
            &answer,
            &message::announcement(7, 1).repeat(2),
            &endless,
            &short,
        ];
        for stranger in strangers {
            let mut wire = wire(&[], 1_000, 1_000);
            wire.come = stranger.to_vec();
            let error = Echo::default().go(&mut wire).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(wire.gone.is_empty());
        }
        let mut other = wire(&[(1, 64), (2, 65)], 1_000, 1_000);
        let mut echo = Echo::default();
        assert!(echo.go(&mut other).unwrap());
        assert!(
            echo.go(&mut other).is_err(),
            "another length than the first"
        );
    }
}
