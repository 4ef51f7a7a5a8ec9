//! Paths on which a node's rules may translate addresses: the client greets with the run's header, and
//! the server greets back.
//!
//! The server knows its client by the greeting alone, for the rules may give it another address: that
//! of a hairpin, or what a CNI masquerades, which is what pods send to nodes and nodes to pods (flannel
//! with `--ip-masq`).
//!
//! To a service the client connects to an address that the rules translate into that of one backend,
//! which they choose for each connection anew. The test listens on one. Whoever else answers, or
//! refuses, is another backend, and the client tries again from another port.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, UdpSocket},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use nettoll_core::api::Protocol;
use socket2::{SockAddr, Socket};

use super::{
    Plan, Stop, TrafficError,
    header::{HEADER_BYTES, message, same, same_run},
    socket::{self, PATIENCE},
};
use crate::netns::Netns;

/// Most connections on the search for the backend: each of the others gets its share of them.
const ATTEMPTS: u32 = 256;
/// A greeting without a service is lost at most so often.
const LOSSES: u32 = 3;
/// How long a greeting is waited for.
const GREETING: Duration = Duration::from_secs(1);

/// A client's socket that is connected to the run's own server, by way of the service if there is one.
pub(super) fn connect(netns: &Netns, plan: &Plan) -> Result<Socket, TrafficError> {
    let most = plan.service.map_or(LOSSES, |_| ATTEMPTS);
    let until = Instant::now() + PATIENCE;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let socket = socket::open(netns, plan.protocol(), plan.client, plan.mss)?;
        match greet(&socket, plan.target(), plan.run) {
            Ok(()) => return Ok(socket),
            Err(last) if attempts == most || Instant::now() > until => {
                return Err(match plan.service {
                    Some(service) => TrafficError::OtherBackend {
                        service,
                        server: plan.server,
                        attempts,
                        last,
                    },
                    None => TrafficError::Connect {
                        from: plan.client,
                        to: plan.server,
                        source: last,
                    },
                });
            }
            Err(_) => {}
        }
    }
}

/// Connects and says whose run it is.
fn greet(socket: &Socket, to: SocketAddr, run: u32) -> io::Result<()> {
    socket.connect_timeout(&to.into(), PATIENCE)?;
    socket.set_read_timeout(Some(GREETING))?;
    let greeting = message(run, HEADER_BYTES);
    let mut answer = [0; HEADER_BYTES];
    (&*socket).write_all(&greeting)?;
    (&*socket).read_exact(&mut answer)?;
    if !same(&greeting, &answer) {
        return Err(io::Error::other("something else answers there"));
    }
    socket.set_read_timeout(None)
}

/// Waits for the run's client, and says in `client` who that is before it is greeted; connections of
/// others are closed.
pub(super) fn accept(
    listener: &Socket,
    run: u32,
    client: &OnceLock<SocketAddr>,
    stop: &Stop,
) -> io::Result<Arc<Socket>> {
    loop {
        match listener.accept() {
            Ok((connection, from)) => match greet_back(&connection, run, &from, client) {
                Ok(()) => return Ok(stop.watch(connection)),
                Err(error) => tracing::debug!(%error, "a stranger's connection was closed"),
            },
            Err(error) if stop.ended() => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

fn greet_back(
    connection: &Socket,
    run: u32,
    from: &SockAddr,
    client: &OnceLock<SocketAddr>,
) -> io::Result<()> {
    connection.set_read_timeout(Some(GREETING))?;
    let mut greeting = [0; HEADER_BYTES];
    (&*connection).read_exact(&mut greeting)?;
    if !same_run(&greeting, &message(run, HEADER_BYTES)) {
        return Err(io::Error::other("its first bytes are not of this run"));
    }
    note(from.as_socket(), client)?;
    (&*connection).write_all(&greeting)?;
    connection.set_read_timeout(None)
}

fn note(from: Option<SocketAddr>, client: &OnceLock<SocketAddr>) -> io::Result<()> {
    let from = from.ok_or_else(|| io::Error::other("it has no IP address"))?;
    client.get_or_init(|| from);
    Ok(())
}

/// Connects a datagram socket to the run's client, whose greeting it waits for. As [`accept`].
pub(super) fn accept_datagrams(
    socket: &Socket,
    run: u32,
    client: &OnceLock<SocketAddr>,
    stop: &Stop,
) -> io::Result<()> {
    let datagrams = UdpSocket::from(socket.try_clone()?);
    let mut greeting = [0; HEADER_BYTES];
    loop {
        let received = datagrams.recv_from(&mut greeting);
        if stop.ended() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let (length, from) = received?;
        if length == HEADER_BYTES && same_run(&greeting, &message(run, HEADER_BYTES)) {
            socket.connect(&SockAddr::from(from))?;
            note(Some(from), client)?;
            return datagrams.send(&greeting).map(drop);
        }
    }
}

/// Bytes of a connection that are the greeting and no traffic.
pub(super) fn greeting_bytes(plan: &Plan) -> u64 {
    if plan.greets && plan.protocol() == Protocol::Tcp {
        HEADER_BYTES as u64
    } else {
        0
    }
}
