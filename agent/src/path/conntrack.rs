//! What the rules of this node make of a flow's addresses: the kernel's entry of the connection, asked
//! of ctnetlink (`include/uapi/linux/netfilter/nfnetlink_conntrack.h`).
//!
//! An entry has two tuples, that of what was sent as it came in, and that of what is expected to come
//! back; where they are not each other's reverse, addresses are translated.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_NETFILTER};
use nettoll_core::api::{FlowTuple, Protocol};

/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_GET`, and in answers `IPCTNL_MSG_CT_NEW`.
const GET: u16 = 0x0101;
const NEW: u16 = 0x0100;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
/// Bytes of `nlmsghdr` and `nfgenmsg`.
const HEADERS: usize = 16 + 4;
const NESTED: u16 = 0x8000;

// Attributes, by where they are.
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const OF_TUPLE_IP: u16 = 1;
const OF_TUPLE_PROTO: u16 = 2;
const IP_V4_SRC: u16 = 1;
const IP_V4_DST: u16 = 2;
const IP_V6_SRC: u16 = 3;
const IP_V6_DST: u16 = 4;
const PROTO_NUM: u16 = 1;
const PROTO_SRC_PORT: u16 = 2;
const PROTO_DST_PORT: u16 = 3;

/// The flow on both sides of the rules of this agent's own namespace, the client's side first.
/// `None` where the kernel has no entry of it: nothing is translated here.
///
/// # Errors
/// Without `CAP_NET_ADMIN`, or where this kernel does not tell.
pub(crate) fn both_sides(flow: &FlowTuple) -> io::Result<Option<[FlowTuple; 2]>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddress::new(0, 0))?;
    // Seen from behind the translation a flow is known by what comes back.
    for tuple in [*flow, reversed(flow)] {
        socket.send(&question(&tuple), 0)?;
        let (answer, _) = socket.recv_from_full()?;
        if let Some(sides) = sides(&answer, flow.protocol)? {
            return Ok(Some(sides));
        }
    }
    Ok(None)
}

fn reversed(flow: &FlowTuple) -> FlowTuple {
    FlowTuple {
        client: flow.server,
        server: flow.client,
        ..*flow
    }
}

fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP as u8,
        Protocol::Udp => libc::IPPROTO_UDP as u8,
    }
}

/// An attribute with its padding.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
    bytes.extend((length as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// Asks for the entry that has this tuple.
fn question(tuple: &FlowTuple) -> Vec<u8> {
    let address = |address: SocketAddr, v4, v6| match address.ip() {
        IpAddr::V4(ip) => attribute(v4, &ip.octets()),
        IpAddr::V6(ip) => attribute(v6, &ip.octets()),
    };
    let addresses = [
        address(tuple.client, IP_V4_SRC, IP_V6_SRC),
        address(tuple.server, IP_V4_DST, IP_V6_DST),
    ];
    let ports = [
        attribute(PROTO_NUM, &[protocol_number(tuple.protocol)]),
        attribute(PROTO_SRC_PORT, &tuple.client.port().to_be_bytes()),
        attribute(PROTO_DST_PORT, &tuple.server.port().to_be_bytes()),
    ];
    let whole = [
        attribute(OF_TUPLE_IP | NESTED, &addresses.concat()),
        attribute(OF_TUPLE_PROTO | NESTED, &ports.concat()),
    ];
    let whole = attribute(TUPLE_ORIG | NESTED, &whole.concat());
    let family = if tuple.client.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let mut message = Vec::with_capacity(HEADERS + whole.len());
    message.extend(((HEADERS + whole.len()) as u32).to_ne_bytes());
    message.extend(GET.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence and port, which nobody looks at.
    message.extend([0; 8]);
    message.extend([family as u8, 0, 0, 0]);
    message.extend(whole);
    message
}

/// The two sides in an answer; `None` where there is no such entry.
fn sides(answer: &[u8], protocol: Protocol) -> io::Result<Option<[FlowTuple; 2]>> {
    let odd = || io::Error::other("the kernel's answer about a connection was not understood");
    let number = |at: usize| Some(u16::from_ne_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    match number(4).ok_or_else(odd)? {
        NEW => {}
        NLMSG_ERROR => {
            let code = answer.get(16..20).and_then(|code| code.try_into().ok());
            let code = code.map(i32::from_ne_bytes).ok_or_else(odd)?;
            return match -code {
                libc::ENOENT => Ok(None),
                code => Err(io::Error::from_raw_os_error(code)),
            };
        }
        _ => return Err(odd()),
    }
    let attributes = answer.get(HEADERS..).ok_or_else(odd)?;
    let tuple = |kind| find(attributes, kind).and_then(|bytes| tuple(bytes, protocol));
    let (sent, back) = tuple(TUPLE_ORIG).zip(tuple(TUPLE_REPLY)).ok_or_else(odd)?;
    Ok(Some([sent, reversed(&back)]))
}

fn tuple(bytes: &[u8], protocol: Protocol) -> Option<FlowTuple> {
    let addresses = find(bytes, OF_TUPLE_IP)?;
    let ports = find(bytes, OF_TUPLE_PROTO)?;
    let address = |v4, v6| -> Option<IpAddr> {
        if let Some(ip) = find(addresses, v4) {
            return Some(<[u8; 4]>::try_from(ip).ok()?.into());
        }
        Some(<[u8; 16]>::try_from(find(addresses, v6)?).ok()?.into())
    };
    let port = |kind| Some(u16::from_be_bytes(find(ports, kind)?.try_into().ok()?));
    Some(FlowTuple {
        protocol,
        client: (address(IP_V4_SRC, IP_V6_SRC)?, port(PROTO_SRC_PORT)?).into(),
        server: (address(IP_V4_DST, IP_V6_DST)?, port(PROTO_DST_PORT)?).into(),
    })
}

/// The value of the first attribute of a kind.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (length, rest) = attributes.split_first_chunk::<2>()?;
        let kind = rest.first_chunk::<2>()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes(*kind) & !(NESTED | 0x4000) == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(client: &str, server: &str) -> FlowTuple {
        FlowTuple {
            protocol: Protocol::Udp,
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
        }
    }

    /// What the kernel would answer: the tuples of two questions behind its own headers.
    fn answer(sent: &FlowTuple, back: &FlowTuple) -> Vec<u8> {
        let mut message = question(sent);
        message[4..6].copy_from_slice(&NEW.to_ne_bytes());
        let mut reply = question(back).split_off(HEADERS);
        reply[2..4].copy_from_slice(&(TUPLE_REPLY | NESTED).to_ne_bytes());
        message.extend(attribute(7, &[0; 5]));
        message.extend(reply);
        message
    }

    #[test]
    fn an_entry_is_read_as_the_flow_on_both_sides() {
        for [sent, back, beyond] in [
            [
                flow("198.18.1.2:40000", "198.18.128.1:80"),
                flow("198.18.1.2:9489", "198.18.1.1:50000"),
                flow("198.18.1.1:50000", "198.18.1.2:9489"),
            ],
            [
                flow("[2001:2::2]:40000", "[2001:2:f::1]:80"),
                flow("[2001:2::3]:9489", "[2001:2::2]:40000"),
                flow("[2001:2::2]:40000", "[2001:2::3]:9489"),
            ],
        ] {
            let found = sides(&answer(&sent, &back), Protocol::Udp).unwrap();
            assert_eq!(found, Some([sent, beyond]));
        }
    }

    #[test]
    fn answers_that_are_none_are_told_apart() {
        let error = |code: i32| {
            let mut message = question(&flow("198.18.1.2:1", "198.18.1.3:2"));
            message[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
            message[16..20].copy_from_slice(&(-code).to_ne_bytes());
            sides(&message, Protocol::Udp)
        };
        assert_eq!(error(libc::ENOENT).unwrap(), None);
        assert_eq!(
            error(libc::EPERM).unwrap_err().raw_os_error(),
            Some(libc::EPERM)
        );
        let whole = answer(
            &flow("198.18.1.2:1", "198.18.1.3:2"),
            &flow("198.18.1.3:2", "198.18.1.2:1"),
        );
        for length in 0..whole.len() {
            // Cut anywhere it is an error, or what is left says the same.
            let _ = sides(&whole[..length], Protocol::Udp);
        }
        assert!(sides(&whole[..HEADERS], Protocol::Udp).is_err());
    }
}
