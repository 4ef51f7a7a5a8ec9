//! Questions to the kernel over a route netlink socket, one at a time.

use std::{
    cell::Cell,
    io,
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
    nsid::{NsidAttribute, NsidMessage},
    route::{RouteAttribute, RouteFlags, RouteMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// How often a dump is repeated while devices come and go under it.
const DUMP_ATTEMPTS: usize = 5;

/// A socket that asks about the network namespace of the thread that opened it, whichever
/// thread uses it later.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    sequence: Cell<u32>,
}

impl Netlink {
    /// Opens a socket in the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: Cell::new(0),
        })
    }

    /// All links of the namespace.
    pub(super) fn links(&self) -> io::Result<Vec<LinkMessage>> {
        let mut ask = LinkMessage::default();
        ask.attributes
            .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(answers) =
                self.ask(RouteNetlinkMessage::GetLink(ask.clone()), NLM_F_DUMP)?
            {
                return Ok(answers
                    .into_iter()
                    .filter_map(|answer| match answer {
                        RouteNetlinkMessage::NewLink(link) => Some(link),
                        _ => None,
                    })
                    .collect());
            }
        }
        Err(io::Error::other(
            "its devices changed while they were listed; try again",
        ))
    }

    /// The route that a packet to `to` takes, from the local address `from` where given. With
    /// [`RouteFlags::FibMatch`] it is as it was configured, without what was learned since.
    pub(super) fn route(
        &self,
        to: IpAddr,
        from: Option<IpAddr>,
        flags: RouteFlags,
    ) -> io::Result<RouteMessage> {
        let (family, bits) = match to {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        let mut ask = RouteMessage::default();
        ask.header.address_family = family;
        ask.header.destination_prefix_length = bits;
        ask.header.flags = flags;
        ask.attributes.push(RouteAttribute::Destination(to.into()));
        if let Some(from) = from {
            ask.header.source_prefix_length = bits;
            ask.attributes.push(RouteAttribute::Source(from.into()));
        }
        let answers = self.ask(RouteNetlinkMessage::GetRoute(ask), 0)?;
        match answers.into_iter().flatten().next() {
            Some(RouteNetlinkMessage::NewRoute(route)) => Ok(route),
            _ => Err(io::Error::other("the kernel answered no route")),
        }
    }

    /// The number by which this namespace knows the one of `file`, `None` where it has none.
    pub(super) fn nsid(&self, file: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        let mut ask = NsidMessage::default();
        ask.attributes
            .push(NsidAttribute::Fd(file.as_raw_fd().cast_unsigned()));
        let answers = self.ask(RouteNetlinkMessage::GetNsId(ask), 0)?;
        Ok(answers
            .into_iter()
            .flatten()
            .find_map(|answer| match answer {
                RouteNetlinkMessage::NewNsId(message) => {
                    message
                        .attributes
                        .into_iter()
                        .find_map(|attribute| match attribute {
                            // -1: not assigned.
                            NsidAttribute::Id(id) if id >= 0 => Some(id),
                            _ => None,
                        })
                }
                _ => None,
            }))
    }

    /// The answers to one question; `None` where a dump was interrupted by a change.
    fn ask(
        &self,
        question: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Option<Vec<RouteNetlinkMessage>>> {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = sequence;
        let mut question = NetlinkMessage::new(header, NetlinkPayload::from(question));
        question.finalize();
        let mut bytes = vec![0; question.buffer_len()];
        question.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let mut answers = Vec::new();
        let mut whole = true;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let head = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
                let length = head.length() as usize;
                let (ours, interrupted) = (
                    head.sequence_number() == sequence,
                    head.flags() & NLM_F_DUMP_INTR != 0,
                );
                let message = NetlinkMessage::deserialize(rest);
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                if !ours {
                    continue;
                }
                whole &= !interrupted;
                match message.map(|message| message.payload) {
                    Ok(NetlinkPayload::InnerMessage(answer)) => answers.push(answer),
                    Ok(NetlinkPayload::Done(_)) => return Ok(whole.then_some(answers)),
                    Ok(NetlinkPayload::Error(error)) if error.code.is_some() => {
                        return Err(error.to_io());
                    }
                    Ok(_) => {}
                    // One odd device must not hide all others.
                    Err(error) => tracing::warn!("a netlink message was not understood: {error}"),
                }
                if flags & NLM_F_DUMP != NLM_F_DUMP {
                    return Ok(Some(answers));
                }
            }
        }
    }
}
