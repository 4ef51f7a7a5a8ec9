//! Sockets, and ending whatever waits on them.

use std::{
    io,
    net::{Shutdown, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use nettoll_core::api::Protocol;
use socket2::{Domain, Socket, Type};

use super::TrafficError;
use crate::netns::Netns;

/// How long a client waits for its connection, and for traffic that should be over.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// After this time a datagram is lost.
pub(super) const UDP_PATIENCE: Duration = Duration::from_secs(1);
/// A flow has one client; the rest is room for strangers, whose connections are dropped.
const BACKLOG: i32 = 16;

/// Opens a bound socket inside a namespace. `mss` bounds what either side of its connections may
/// send, since it is set before there is one.
pub(crate) fn open(
    netns: &Netns,
    protocol: Protocol,
    address: SocketAddr,
    mss: Option<u32>,
) -> Result<Socket, TrafficError> {
    let make = move || {
        let kind = match protocol {
            Protocol::Tcp => Type::STREAM,
            Protocol::Udp => Type::DGRAM,
        };
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        if protocol == Protocol::Tcp {
            // A port is free although an earlier run's connection is in TIME_WAIT. On UDP the
            // same option would let two runs share a port.
            socket.set_reuse_address(true)?;
        }
        if let Some(mss) = mss {
            socket.set_tcp_mss(mss)?;
        }
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let opened = netns
        .on_thread("nettoll-open", make)
        .and_then(crate::netns::Inside::join)
        .map_err(TrafficError::Thread)?;
    opened.map_err(|source| TrafficError::Open { address, source })
}

/// Connects a client's socket, unless it is connected already.
pub(super) fn connect(
    socket: &Socket,
    from: SocketAddr,
    to: SocketAddr,
    stop: &Stop,
) -> Result<(), TrafficError> {
    if socket.peer_addr().is_ok() {
        return Ok(());
    }
    let connected = socket.connect_timeout(&to.into(), PATIENCE);
    connected.map_err(|source| match stop.explain(source) {
        TrafficError::Broken(source) => TrafficError::Connect { from, to, source },
        other => other,
    })
}

/// Lets a bound TCP socket listen.
pub(super) fn listen(socket: &Socket) -> io::Result<()> {
    socket.listen(BACKLOG)
}

/// The address that a socket is bound to.
pub(super) fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?;
    address
        .as_socket()
        .ok_or_else(|| io::Error::other("the socket has no IP address"))
}

/// The traffic should have been over.
const OVERDUE: u8 = 1;
/// The run is deleted.
const STOPPED: u8 = 2;

/// Ends a run's traffic from any thread: whatever waits on one of its sockets returns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<Stopping>);

#[derive(Debug, Default)]
struct Stopping {
    /// [`OVERDUE`] or [`STOPPED`]; 0 while all is well.
    ended: AtomicU8,
    sockets: Mutex<Vec<Arc<Socket>>>,
}

impl Stop {
    /// Ends the run's traffic and lets go of its sockets. Doing so twice changes nothing.
    pub(crate) fn stop(&self) {
        let mut sockets = self.sockets();
        self.0.ended.store(STOPPED, Ordering::Release);
        for socket in sockets.drain(..) {
            end(&socket);
        }
    }

    /// Breaks traffic off that should have been over. No system call of a loop needs a timeout
    /// of its own then, which would cost a timer for each that waits.
    pub(super) fn break_off(&self) {
        let sockets = self.sockets();
        if !self.ended() {
            self.0.ended.store(OVERDUE, Ordering::Release);
        }
        for socket in sockets.iter() {
            end(socket);
        }
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<Arc<Socket>>> {
        self.0
            .sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether [`Self::stop`] was called.
    pub(super) fn stopped(&self) -> bool {
        self.0.ended.load(Ordering::Acquire) == STOPPED
    }

    /// Whether the sockets were shut down from here, for whatever reason.
    #[inline]
    pub(crate) fn ended(&self) -> bool {
        self.0.ended.load(Ordering::Acquire) != 0
    }

    /// From now on [`Self::stop`] ends this socket too.
    pub(crate) fn watch(&self, socket: Socket) -> Arc<Socket> {
        let socket = Arc::new(socket);
        let mut sockets = self.sockets();
        if self.ended() {
            end(&socket);
        }
        if !self.stopped() {
            sockets.push(Arc::clone(&socket));
        }
        socket
    }

    /// What an error on one of the sockets means.
    pub(super) fn explain(&self, error: io::Error) -> TrafficError {
        match error.kind() {
            _ if self.stopped() => TrafficError::Stopped,
            _ if self.ended() => TrafficError::Silent(PATIENCE.as_secs()),
            io::ErrorKind::UnexpectedEof => {
                TrafficError::Broken(io::Error::new(error.kind(), "the peer closed it"))
            }
            _ => TrafficError::Broken(error),
        }
    }
}

/// Wakes who waits on the socket: `accept` fails, `recv` returns nothing, `send` fails. So it
/// is for unconnected UDP sockets too, although the call itself says ENOTCONN for them
/// (`inet_shutdown` in `net/ipv4/af_inet.c`).
fn end(socket: &Socket) {
    // There is nothing to be done about an error: the socket is then dead already.
    let _ = socket.shutdown(Shutdown::Both);
}
