//! What is done on a tunnel's behalf, by whole stacks.

use super::function;
use crate::api::Stack;

/// A part of the kernel's work that crosses components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Region {
    /// From a tunnel's transmit function to the transmit of the device under it. Comparable with
    /// the exact self time of the tunnel device, which is cut at the same place.
    Encap,
    /// From a tunnel's receive function until the inner packet goes its own way.
    Decap,
}

impl Region {
    /// All.
    pub const ALL: [Self; 2] = [Self::Encap, Self::Decap];

    /// The word of the design.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Encap => "encap",
            Self::Decap => "decap",
        }
    }

    /// The tunnels' functions that open the region.
    fn opened_by(self) -> &'static [&'static str] {
        match self {
            // The devices' `ndo_start_xmit`; wireguard encrypts and sends in workers besides.
            Self::Encap => &[
                "vxlan_xmit",
                "geneve_xmit",
                "bareudp_xmit",
                "ipip_tunnel_xmit",
                "ipgre_xmit",
                "gre_tap_xmit",
                "erspan_xmit",
                "sit_tunnel_xmit",
                "ip6_tnl_start_xmit",
                "ip6gre_tunnel_xmit",
                "vti_tunnel_xmit",
                "xfrmi_xmit",
                "wg_xmit",
                "wg_packet_encrypt_worker",
                "wg_packet_tx_worker",
            ],
            Self::Decap => &[
                "vxlan_rcv",
                "geneve_udp_encap_recv",
                "bareudp_udp_encap_recv",
                "ipip_rcv",
                "ipip_tunnel_rcv",
                "gre_rcv",
                "ipip6_rcv",
                "ip6_tnl_rcv",
                "wg_receive",
                "wg_packet_decrypt_worker",
                "wg_packet_rx_poll",
            ],
        }
    }

    /// The functions that end it.
    fn closed_by(self) -> &'static [&'static str] {
        match self {
            // Every transmit of a device passes it, with a queueing discipline or without; the
            // driver's own function is below it.
            Self::Encap => &["dev_hard_start_xmit"],
            // Putting the inner packet on a GRO cell or a backlog still belongs to the region;
            // merging or receiving it does not, nor what softirq finds to do besides.
            Self::Decap => &[
                "napi_gro_receive",
                "gro_receive_skb",
                "dev_gro_receive",
                "netif_receive_skb",
                "netif_receive_skb_core",
                "netif_receive_skb_one_core",
                "netif_receive_skb_internal",
                "netif_receive_skb_list_internal",
                "netif_receive_skb_list_core",
                "dev_hard_start_xmit",
                "do_softirq",
                "handle_softirqs",
            ],
        }
    }
}

/// Whether a sample was taken in a region: one of the functions that open it is on the stack, and
/// none that closes it is nearer to the innermost end.
///
/// The hooks that cut the exact self time lie inside `dev_hard_start_xmit`: of the tunnel's the
/// part between them is in it, of the lower device's the rest, together once what the function
/// itself does. So its own samples on the lower device are in the region, and what it calls is not.
#[must_use]
pub fn in_region(stack: &Stack, region: Region) -> bool {
    let mut frames = stack
        .frames
        .iter()
        .rev()
        .map(|frame| function(frame))
        .peekable();
    if region == Region::Encap {
        frames.next_if_eq(&"dev_hard_start_xmit");
    }
    frames
        .map_while(|name| (!region.closed_by().contains(&name)).then_some(name))
        .any(|name| region.opened_by().contains(&name))
}
