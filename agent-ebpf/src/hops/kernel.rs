//! Reads of the kernel's structures.
//!
//! Rust has no CO-RE relocations: user space finds the offsets in the running kernel's BTF and
//! sets them before load. They are then constants to the verifier. How a member is read is the
//! crate's root's affair: `tp_btf.rs`, `raw_tp.rs`.

use aya_ebpf::helpers::bpf_probe_read_kernel_buf;
use nettoll_agent_common::hops::FlowKey;

use crate::{headers, key, member};

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            static $name: u32 = 0;
        )*
    };
}

offsets! {
    /// `sk_buff.dev`
    OFF_SKB_DEV,
    /// `sk_buff.len`
    OFF_SKB_LEN,
    /// `sk_buff.head`
    OFF_SKB_HEAD,
    /// `sk_buff.data`
    OFF_SKB_DATA,
    /// `sk_buff.end`
    OFF_SKB_END,
    /// `sk_buff.network_header`
    OFF_SKB_NETWORK_HEADER,
    /// `net_device.ifindex`
    OFF_DEV_IFINDEX,
    /// `net_device.nd_net.net`
    OFF_DEV_NET,
    /// `net.ns.inum`
    OFF_NET_INUM,
    /// `skb_shared_info.gso_segs`
    OFF_SHINFO_GSO_SEGS,
    /// `sock.__sk_common.skc_addrpair`
    OFF_SOCK_ADDRESSES,
    /// `sock.__sk_common.skc_portpair`
    OFF_SOCK_PORTS,
    /// `sock.sk_protocol`
    OFF_SOCK_PROTOCOL,
    /// `sock.sk_lock.owned`
    OFF_SOCK_OWNED,
    /// Not 0 where `kfree_skb` has a reason as its third argument.
    TELLS_REASONS,
}

/// Whether the kernel says why it drops a packet. Where it does not, the verifier never looks at what
/// follows.
#[inline(always)]
pub(crate) fn tells_reasons() -> bool {
    // SAFETY: reads a static that user space set before load.
    unsafe { core::ptr::read_volatile(&TELLS_REASONS) != 0 }
}

/// A `struct sk_buff`.
#[derive(Clone, Copy)]
pub(crate) struct Skb(pub(crate) *const u8);

impl Skb {
    /// The node-local key of the packet.
    #[inline(always)]
    pub(crate) fn key<T>(self, base: &'static T) -> u64 {
        key(self.0, base)
    }

    /// The device that it is on: on its way down there is none before it has a route.
    #[inline(always)]
    pub(crate) fn device(self) -> Device {
        Device(member(self.0, &OFF_SKB_DEV))
    }

    /// Bytes from `data` on, paged ones included.
    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        member(self.0, &OFF_SKB_LEN)
    }

    /// Address of the current header.
    #[inline(always)]
    pub(crate) fn data(self) -> u64 {
        member(self.0, &OFF_SKB_DATA)
    }

    /// Address of the network header, as the sender set it.
    #[inline(always)]
    pub(crate) fn network_header(self) -> u64 {
        let head: u64 = member(self.0, &OFF_SKB_HEAD);
        let offset: u16 = member(self.0, &OFF_SKB_NETWORK_HEADER);
        head + u64::from(offset)
    }

    /// Wire packets in it: `gso_segs` of its shared info, 1 where that is 0.
    #[inline(always)]
    pub(crate) fn segments(self) -> u16 {
        let head: u64 = member(self.0, &OFF_SKB_HEAD);
        let end: u32 = member(self.0, &OFF_SKB_END);
        // SAFETY: reads a static that user space set before load.
        let offset = unsafe { core::ptr::read_volatile(&OFF_SHINFO_GSO_SEGS) };
        let mut segments = [0; 2];
        read(head + u64::from(end) + u64::from(offset), &mut segments);
        match u16::from_ne_bytes(segments) {
            0 => 1,
            segments => segments,
        }
    }
}

/// A `struct net_device`.
#[derive(Clone, Copy)]
pub(crate) struct Device(pub(crate) *const u8);

impl Device {
    /// The key of its address, valid while a call on it is on the stack.
    #[inline(always)]
    pub(crate) fn key<T>(self, base: &'static T) -> u64 {
        key(self.0, base)
    }

    /// Its index in its namespace.
    #[inline(always)]
    pub(crate) fn ifindex(self) -> u32 {
        member(self.0, &OFF_DEV_IFINDEX)
    }

    /// The inode of its namespace.
    #[inline(always)]
    pub(crate) fn netns(self) -> u32 {
        let net: *const u8 = member(self.0, &OFF_DEV_NET);
        member(net, &OFF_NET_INUM)
    }
}

/// A `struct sock`.
#[derive(Clone, Copy)]
pub(crate) struct Sock(pub(crate) *const u8);

impl Sock {
    /// Whether a system call has it to itself: packets that come meanwhile wait in its backlog.
    #[inline(always)]
    pub(crate) fn is_owned(self) -> bool {
        let owned: i32 = member(self.0, &OFF_SOCK_OWNED);
        owned != 0
    }

    /// The key of the packets that come to it: a connected socket of IPv4 has one.
    #[inline(always)]
    pub(crate) fn arriving(self) -> FlowKey {
        let addresses: u64 = member(self.0, &OFF_SOCK_ADDRESSES);
        let ports: u32 = member(self.0, &OFF_SOCK_PORTS);
        let protocol: u16 = member(self.0, &OFF_SOCK_PROTOCOL);
        // The other end's first; of the ports that one alone is in network order.
        let [a, b, c, d, e, f, g, h] = addresses.to_ne_bytes();
        let [high, low, own_0, own_1] = ports.to_ne_bytes();
        FlowKey {
            source: headers::mapped([a, b, c, d]),
            destination: headers::mapped([e, f, g, h]),
            source_port: u16::from_be_bytes([high, low]),
            destination_port: u16::from_ne_bytes([own_0, own_1]),
            protocol: u32::from(protocol),
        }
    }
}

/// Copies kernel memory; `false` where it cannot be read.
#[inline(always)]
pub(crate) fn read<const N: usize>(address: u64, into: &mut [u8; N]) -> bool {
    // SAFETY: the helper checks the address itself and never faults.
    unsafe { bpf_probe_read_kernel_buf(address as *const u8, into) }.is_ok()
}
