//! The sockets of a plan's edges: one for each place and port, kept while the plan names it and
//! its pod is there.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    sync::Arc,
};

use nettoll_core::api::{LightEdge, LightPlace, Protocol};
use socket2::{Domain, Socket};

use crate::{
    netns::Netns,
    path::Node,
    traffic::{self, TrafficError},
};

/// The open sockets.
#[derive(Debug, Default)]
pub(super) struct Sockets(BTreeMap<(LightPlace, u16), Open>);

#[derive(Debug)]
struct Open {
    netns: Netns,
    socket: Arc<UdpSocket>,
}

impl Sockets {
    /// The socket of an edge, opened if it has to be. Why not, where it cannot be.
    pub(super) fn of(
        &mut self,
        edge: &LightEdge,
        node: &Node,
    ) -> Result<(Arc<UdpSocket>, Netns), String> {
        let key = (edge.from.clone(), edge.from_port);
        if let Some(open) = self.0.get(&key).filter(|open| open.netns.is_there()) {
            return Ok((Arc::clone(&open.socket), open.netns.clone()));
        }
        let known = self.0.remove(&key);
        let netns = node
            .netns(&edge.from.endpoint, edge.from.pod_uid.as_deref())
            .map_err(|error| error.to_string())?;
        // The process by which the namespace was found is gone, but its pod is not.
        let same = known.filter(|open| open.netns.inode() == netns.inode());
        let socket = match same {
            Some(open) => open.socket,
            None => open(&netns, edge).map_err(|error| error.to_string())?,
        };
        let open = Open {
            netns: netns.clone(),
            socket: Arc::clone(&socket),
        };
        self.0.insert(key, open);
        Ok((socket, netns))
    }

    /// Closes those that none of the edges has.
    pub(super) fn keep(&mut self, edges: &[LightEdge]) {
        self.0
            .retain(|(place, port), _| edges.iter().any(|edge| edge.source() == (place, *port)));
    }
}

fn open(netns: &Netns, edge: &LightEdge) -> Result<Arc<UdpSocket>, TrafficError> {
    let address = SocketAddr::new(edge.from.address, edge.from_port);
    let socket = traffic::open(netns, Protocol::Udp, address)?;
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
