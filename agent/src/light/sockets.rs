//! The sockets of a plan's edges: over UDP one for each place and port, kept while the plan names it
//! and its pod is there; over TCP one for each round.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    sync::Arc,
};

use nettoll_core::api::{LightEdge, LightPlace, Protocol};
use socket2::{Domain, Socket};

use super::connection::Connection;
use crate::{
    netns::Netns,
    path::Node,
    traffic::{self, TrafficError},
};

/// The open sockets, by their places.
#[derive(Debug, Default)]
pub(super) struct Sockets(BTreeMap<LightPlace, Place>);

#[derive(Debug)]
struct Place {
    netns: Netns,
    /// By port.
    datagrams: BTreeMap<u16, Arc<UdpSocket>>,
}

impl Sockets {
    /// The socket of an edge over UDP, opened if it has to be. Why not, where it cannot be.
    pub(super) fn datagrams(
        &mut self,
        edge: &LightEdge,
        node: &Node,
    ) -> Result<(Arc<UdpSocket>, Netns), String> {
        let Place { netns, datagrams } = self.place(&edge.from, node)?;
        let socket = match datagrams.get(&edge.from_port) {
            Some(socket) => Arc::clone(socket),
            None => {
                let socket = open(netns, edge).map_err(|error| error.to_string())?;
                datagrams.insert(edge.from_port, Arc::clone(&socket));
                socket
            }
        };
        Ok((socket, netns.clone()))
    }

    /// A connection of an edge over TCP, which is begun. Why not, where it cannot be.
    pub(super) fn connection(
        &mut self,
        edge: &LightEdge,
        node: &Node,
    ) -> Result<(Connection, Netns), String> {
        let netns = self.place(&edge.from, node)?.netns.clone();
        let address = SocketAddr::new(edge.from.address, edge.from_port);
        let socket = traffic::open(&netns, Protocol::Tcp, address, None);
        let socket = socket.map_err(|error| error.to_string())?;
        let begun = Connection::begin(socket, SocketAddr::new(edge.to, edge.to_port));
        Ok((begun.map_err(|error| error.to_string())?, netns))
    }

    fn place(&mut self, place: &LightPlace, node: &Node) -> Result<&mut Place, String> {
        let known = self.0.remove(place);
        let found = match known {
            Some(known) if known.netns.is_there() => known,
            known => {
                let netns = node
                    .netns(&place.endpoint, place.pod_uid.as_deref())
                    .map_err(|error| error.to_string())?;
                // The process by which the namespace was found may be gone, but its pod is not.
                let same = known.filter(|known| known.netns.inode() == netns.inode());
                let datagrams = same.map(|known| known.datagrams).unwrap_or_default();
                Place { netns, datagrams }
            }
        };
        Ok(self.0.entry(place.clone()).or_insert(found))
    }

    /// Closes those that none of the edges has.
    pub(super) fn keep(&mut self, edges: &[LightEdge]) {
        self.0.retain(|place, open| {
            let here = || edges.iter().filter(|edge| edge.from == *place);
            (open.datagrams).retain(|port, _| here().any(|edge| edge.from_port == *port));
            here().next().is_some()
        });
    }
}

fn open(netns: &Netns, edge: &LightEdge) -> Result<Arc<UdpSocket>, TrafficError> {
    let address = SocketAddr::new(edge.from.address, edge.from_port);
    let socket = traffic::open(netns, Protocol::Udp, address, None)?;
    never_fragment(&socket)
        .and_then(|()| socket.set_nonblocking(true))
        .map_err(|source| TrafficError::Open { address, source })?;
    Ok(Arc::new(socket.into()))
}

/// From now on what is sent is never fragmented, neither here nor on the way, whatever the kernel
/// learned of the way: it arrives as it is, or not at all.
#[expect(
    unsafe_code,
    reason = "setsockopt for this option has no safe wrapper among our dependencies"
)]
pub(super) fn never_fragment(socket: &Socket) -> io::Result<()> {
    let (level, option, value) = if socket.domain()? == Domain::IPV6 {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        )
    } else {
        (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        )
    };
    // SAFETY: the value is an int that outlives the call, and its length is said.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
