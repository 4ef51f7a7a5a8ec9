//! Headers of a packet: from the network header to the key of its flow.

use nettoll_agent_common::hops::{Config, FlowKey, MESSAGE_MAGIC};

use crate::kernel::{Skb, read};

const TCP: u8 = 6;
const UDP: u8 = 17;
/// An IPv4 header without options.
const IPV4_BYTES: u32 = 20;
const UDP_BYTES: u32 = 8;
/// VXLAN header and the inner Ethernet header.
const VXLAN_BYTES: u32 = 8 + 14;

/// What one packet's headers say.
pub(crate) struct Headers {
    /// The 5-tuple.
    pub(crate) key: FlowKey,
    /// TCP sequence number; for the tests' own datagrams the low half of their sequence.
    pub(crate) sequence: u32,
    /// Bytes from the network header to the payload.
    header_bytes: u32,
}

/// IPv4 header (20 bytes) and what follows: up to the sequence in a test's datagram.
type Start = [u8; 48];

#[inline(always)]
fn u16_at(bytes: &Start, at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
fn u32_at(bytes: &Start, at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Headers {
    /// Bytes of payload of a packet whose network header is there; `None` where there can be none.
    #[inline(always)]
    pub(crate) fn payload(&self, skb: Skb, network_header: u64) -> Option<u32> {
        let before_network_header = network_header.wrapping_sub(skb.data()) as u32;
        let bytes = skb
            .len()
            .wrapping_sub(before_network_header)
            .wrapping_sub(self.header_bytes);
        (bytes <= i32::MAX as u32).then_some(bytes)
    }
}

/// The packet's own headers; on the way in those inside VXLAN, where it is VXLAN.
#[inline(always)]
pub(crate) fn parse(network_header: u64, config: &Config, received: bool) -> Option<Headers> {
    let outer = ipv4(network_header)?;
    let port = outer.key.destination_port;
    let vxlan = port != 0 && (port == config.vxlan_ports[0] || port == config.vxlan_ports[1]);
    if !received || !vxlan || outer.key.protocol != u32::from(UDP) {
        return Some(outer);
    }
    let skipped = IPV4_BYTES + UDP_BYTES + VXLAN_BYTES;
    let mut inner = ipv4(network_header + u64::from(skipped))?;
    inner.header_bytes += skipped;
    Some(inner)
}

/// IPv4 without options, TCP or UDP; `None` for anything else.
#[inline(always)]
fn ipv4(network_header: u64) -> Option<Headers> {
    let mut start: Start = [0; 48];
    if !read(network_header, &mut start) || start[0] != 0x45 {
        return None;
    }
    let protocol = start[9];
    let (sequence, l4_bytes) = match protocol {
        TCP => (u32_at(&start, 24), u32::from(start[32] >> 4) * 4),
        UDP if u32_at(&start, 28) == MESSAGE_MAGIC => (u32_at(&start, 40), UDP_BYTES),
        UDP => (0, UDP_BYTES),
        _ => return None,
    };
    Some(Headers {
        key: FlowKey {
            source: mapped(&start, 12),
            destination: mapped(&start, 16),
            source_port: u16_at(&start, 20),
            destination_port: u16_at(&start, 22),
            protocol: u32::from(protocol),
        },
        sequence,
        header_bytes: IPV4_BYTES + l4_bytes,
    })
}

/// An IPv4 address as an IPv4-mapped IPv6 address.
#[inline(always)]
fn mapped(start: &Start, at: usize) -> [u8; 16] {
    let (a, b, c, d) = (start[at], start[at + 1], start[at + 2], start[at + 3]);
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, a, b, c, d]
}
