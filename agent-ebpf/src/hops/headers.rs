//! Headers of a packet: from the network header to the key of its flow.

use nettoll_agent_common::hops::{Config, FlowKey, MESSAGE_MAGIC};

use crate::kernel::{Skb, read};

const IPIP: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// An IPv4 header without options.
const IPV4_BYTES: u32 = 20;
const UDP_BYTES: u32 = 8;
const VXLAN_BYTES: u32 = 8;
/// Without options.
const GENEVE_BYTES: u32 = 8;
const ETHERNET_BYTES: u32 = 14;
/// What Geneve's protocol type says of an Ethernet frame inside.
const ETHERTYPE_ETHERNET: u16 = 0x6558;

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

/// The packet's own headers; of a received one those inside VXLAN, Geneve or IPIP, where it is that.
#[inline(always)]
pub(crate) fn parse(network_header: u64, config: &Config, received: bool) -> Option<Headers> {
    let outer = ipv4(network_header)?;
    let skipped = if received { outside(&outer, config) } else { 0 };
    if skipped == 0 {
        return flow(&outer);
    }
    let mut inner = flow(&ipv4(network_header + u64::from(skipped))?)?;
    inner.header_bytes += skipped;
    Some(inner)
}

/// Bytes from a received packet's network header to the one inside a tunnel's headers: RFC 7348 (VXLAN),
/// RFC 8926 (Geneve), RFC 2003 (IPIP). 0 where it is in none of these forms.
#[inline(always)]
fn outside(outer: &Start, config: &Config) -> u32 {
    match outer[9] {
        IPIP => IPV4_BYTES,
        UDP => {
            let port = u16_at(outer, 22);
            let is = |ports: [u16; 2]| port != 0 && (port == ports[0] || port == ports[1]);
            if is(config.vxlan_ports) {
                IPV4_BYTES + UDP_BYTES + VXLAN_BYTES + ETHERNET_BYTES
            } else if is(config.geneve_ports) {
                let options = u32::from(outer[28] & 0x3F) * 4;
                let ethernet = if u16_at(outer, 30) == ETHERTYPE_ETHERNET {
                    ETHERNET_BYTES
                } else {
                    0
                };
                IPV4_BYTES + UDP_BYTES + GENEVE_BYTES + options + ethernet
            } else {
                0
            }
        }
        _ => 0,
    }
}

/// The start of an IPv4 packet without IP options; `None` for anything else.
#[inline(always)]
fn ipv4(network_header: u64) -> Option<Start> {
    let mut start: Start = [0; 48];
    (read(network_header, &mut start) && start[0] == 0x45).then_some(start)
}

/// What a TCP or UDP packet's headers say; `None` for anything else.
#[inline(always)]
fn flow(start: &Start) -> Option<Headers> {
    let protocol = start[9];
    let (sequence, l4_bytes) = match protocol {
        TCP => (u32_at(start, 24), u32::from(start[32] >> 4) * 4),
        UDP if u32_at(start, 28) == MESSAGE_MAGIC => (u32_at(start, 40), UDP_BYTES),
        UDP => (0, UDP_BYTES),
        _ => return None,
    };
    Some(Headers {
        key: FlowKey {
            source: mapped(address_at(start, 12)),
            destination: mapped(address_at(start, 16)),
            source_port: u16_at(start, 20),
            destination_port: u16_at(start, 22),
            protocol: u32::from(protocol),
        },
        sequence,
        header_bytes: IPV4_BYTES + l4_bytes,
    })
}

#[inline(always)]
fn address_at(start: &Start, at: usize) -> [u8; 4] {
    [start[at], start[at + 1], start[at + 2], start[at + 3]]
}

/// An IPv4 address as an IPv4-mapped IPv6 address.
#[inline(always)]
pub(crate) fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, a, b, c, d]
}
