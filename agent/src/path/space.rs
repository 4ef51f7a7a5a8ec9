//! One network namespace of the node: its links, and sockets to ask about them.

use std::{fs::File, io, os::fd::AsFd};

use nettoll_core::endpoint::Endpoint;
use socket2::{Domain, Socket, Type};

use super::{link::Link, netlink::Netlink};
use crate::netns::Netns;

/// A namespace while a question about the node is answered.
#[derive(Debug)]
pub(super) struct Space {
    /// In the user's words.
    pub(super) place: Endpoint,
    /// Its inode.
    pub(super) inode: u32,
    /// By ascending index.
    pub(super) links: Vec<Link>,
    /// A route netlink socket inside.
    pub(super) netlink: Netlink,
    /// A socket inside for ioctls; nothing is sent over it.
    pub(super) control: Socket,
    file: File,
}

impl Space {
    /// Opens the sockets inside `netns` and lists its links.
    ///
    /// A socket keeps the namespace of the thread that made it, so only the opening needs a
    /// thread inside.
    pub(super) fn open(place: Endpoint, netns: &Netns) -> io::Result<Self> {
        let open = || {
            let netlink = Netlink::open()?;
            let control = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            let file = File::open("/proc/thread-self/ns/net")?;
            io::Result::Ok((netlink, control, file))
        };
        let (netlink, control, file) = netns
            .on_thread("netlink", open)?
            .join()
            .map_err(|_| io::Error::other("the thread inside it ended early"))??;
        let mut links: Vec<Link> = netlink.links()?.into_iter().map(Link::from).collect();
        links.sort_by_key(|link| link.ifindex);
        Ok(Self {
            place,
            inode: netns.inode(),
            links,
            netlink,
            control,
            file,
        })
    }

    /// The number by which this namespace knows another.
    pub(super) fn nsid_of(&self, other: &Self) -> Option<i32> {
        self.netlink.nsid(other.file.as_fd()).ok().flatten()
    }
}
