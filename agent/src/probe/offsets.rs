//! The offsets that the programs read kernel structures at.

use super::btf::{Btf, BtfError};

/// Name of the global in the eBPF object, structure, member.
const OFFSETS: [(&str, &str, &str); 10] = [
    ("OFF_SKB_DEV", "sk_buff", "dev"),
    ("OFF_SKB_LEN", "sk_buff", "len"),
    ("OFF_SKB_HEAD", "sk_buff", "head"),
    ("OFF_SKB_DATA", "sk_buff", "data"),
    ("OFF_SKB_END", "sk_buff", "end"),
    ("OFF_SKB_NETWORK_HEADER", "sk_buff", "network_header"),
    ("OFF_DEV_IFINDEX", "net_device", "ifindex"),
    ("OFF_DEV_NET", "net_device", "nd_net.net"),
    ("OFF_NET_INUM", "net", "ns.inum"),
    ("OFF_SHINFO_GSO_SEGS", "skb_shared_info", "gso_segs"),
];

/// Each global with its value on this kernel. All hops need all of them.
pub(crate) fn resolve(btf: &Btf) -> Result<Vec<(&'static str, u32)>, BtfError> {
    OFFSETS
        .iter()
        .map(|(global, structure, member)| Ok((*global, btf.offset(structure, member)?)))
        .collect()
}
