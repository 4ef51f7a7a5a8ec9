//! The sockets of a plan's edges: one for each place and port, kept while the plan names it and
//! its pod is there.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};

use nettoll_core::api::{LightEdge, LightPlace, Protocol};

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
    socket
        .set_nonblocking(true)
        .map_err(|source| TrafficError::Open { address, source })?;
    Ok(Arc::new(socket.into()))
}
