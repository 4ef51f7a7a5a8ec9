//! What the probe needs of a kernel: tracepoints of certain prototypes, and members of certain
//! structures. Whether a kernel has them is told by its own description ([`Btf`]), never by its
//! version. What it calls its [`DropReasons`] is told there too.

use crate::{
    btf::{Argument, Btf, BtfError},
    hop::Event,
};

mod hook;
mod part;
mod reasons;

pub use self::{
    hook::{HookKind, Reason},
    part::Part,
    reasons::{DropReasons, ENUMERATIONS},
};

/// A tracepoint that has a program of the probe. The program and the eBPF object's function have
/// the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracepoint {
    /// The kernel's name for it.
    pub name: &'static str,
    /// The types of the arguments that the program reads, the first ones.
    pub arguments: &'static [&'static str],
    /// The event of packets there, for which the stages have it.
    pub event: Option<Event>,
    /// What passes there.
    pub purpose: &'static str,
}

const SKB: &str = "struct sk_buff *";
const SOCK: &str = "struct sock *";
const DEVICE: &str = "struct net_device *";

const fn tracepoint(
    name: &'static str,
    arguments: &'static [&'static str],
    event: Option<Event>,
    purpose: &'static str,
) -> Tracepoint {
    Tracepoint {
        name,
        arguments,
        event,
        purpose,
    }
}

/// All of them, in the order of the programs' codes (`agent-common`).
#[rustfmt::skip]
pub const TRACEPOINTS: [Tracepoint; 10] = [
    tracepoint("net_dev_queue",           &[SKB],                Some(Event::Queue),      "a packet enters a device's queue"),
    tracepoint("net_dev_start_xmit",      &[SKB, DEVICE],        Some(Event::StartXmit),  "a device starts to send"),
    tracepoint("net_dev_xmit",            &[SKB, "int", DEVICE], Some(Event::Xmit),       "a device's send call returns"),
    tracepoint("netif_rx",                &[SKB],                Some(Event::NetifRx),    "a packet enters the backlog"),
    tracepoint("napi_gro_receive_entry",  &[SKB],                Some(Event::GroReceive), "a tunnel or card hands up"),
    tracepoint("netif_receive_skb",       &[SKB],                Some(Event::Receive),    "a device receives"),
    tracepoint("skb_copy_datagram_iovec", &[SKB],                Some(Event::Copy),       "data is copied to a reader"),
    tracepoint("consume_skb",             &[SKB],                None,                    "a packet is done"),
    tracepoint("kfree_skb",               &[SKB],                None,                    "a packet is dropped"),
    tracepoint("sk_data_ready",           &[SOCK],               Some(Event::DataReady),  "a socket has data"),
];

/// The hooks whose programs look at a packet's headers, and at which device it is on.
const PACKETS: &[&str] = &[
    "net_dev_queue",
    "netif_rx",
    "napi_gro_receive_entry",
    "netif_receive_skb",
    "kfree_skb",
];
/// Those at which a sender's packet may be met first.
const HEADERS: &[&str] = &["net_dev_queue", "kfree_skb"];
/// Those that look at a device.
const DEVICES: &[&str] = &[
    "net_dev_queue",
    "netif_rx",
    "napi_gro_receive_entry",
    "netif_receive_skb",
    "kfree_skb",
    "net_dev_start_xmit",
];

/// Those that look at a socket.
const SOCKETS: &[&str] = &["sk_data_ready"];

/// A member of a kernel structure that programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The structure.
    pub structure: &'static str,
    /// The member, with dots where it lies in another.
    pub member: &'static str,
    /// The variable of the eBPF object that takes its offset.
    pub variable: &'static str,
    /// The hooks whose programs read it: the others do without.
    pub needed_by: &'static [&'static str],
}

const fn member(
    structure: &'static str,
    member: &'static str,
    variable: &'static str,
    needed_by: &'static [&'static str],
) -> Member {
    Member {
        structure,
        member,
        variable,
        needed_by,
    }
}

/// All of them.
#[rustfmt::skip]
pub const MEMBERS: [Member; 14] = [
    member("sk_buff", "dev", "OFF_SKB_DEV", PACKETS),
    member("sk_buff", "len", "OFF_SKB_LEN", PACKETS),
    member("sk_buff", "head", "OFF_SKB_HEAD", PACKETS),
    member("sk_buff", "data", "OFF_SKB_DATA", PACKETS),
    member("sk_buff", "end", "OFF_SKB_END", PACKETS),
    member("sk_buff", "network_header", "OFF_SKB_NETWORK_HEADER", HEADERS),
    member("net_device", "ifindex", "OFF_DEV_IFINDEX", DEVICES),
    member("net_device", "nd_net.net", "OFF_DEV_NET", DEVICES),
    member("net", "ns.inum", "OFF_NET_INUM", DEVICES),
    member("skb_shared_info", "gso_segs", "OFF_SHINFO_GSO_SEGS", PACKETS),
    member("sock", "__sk_common.skc_addrpair", "OFF_SOCK_ADDRESSES", SOCKETS),
    member("sock", "__sk_common.skc_portpair", "OFF_SOCK_PORTS", SOCKETS),
    member("sock", "sk_protocol", "OFF_SOCK_PROTOCOL", SOCKETS),
    member("sock", "sk_lock.owned", "OFF_SOCK_OWNED", SOCKETS),
];

/// Why a kernel's tracepoint is not the one that a program was written for.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// There is none.
    #[error("this kernel has no such tracepoint")]
    Absent,
    /// It has other arguments.
    #[error("it has the arguments ({found}), and the program reads ({wanted})")]
    Arguments {
        /// What the kernel says.
        found: String,
        /// What the program needs, the first ones.
        wanted: String,
    },
    /// The description is no good.
    #[error(transparent)]
    Btf(#[from] BtfError),
}

impl Tracepoint {
    /// The one of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TRACEPOINTS.into_iter().find(|it| it.name == name)
    }

    /// Compares it with a kernel, and returns its arguments there.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn check(&self, kernel: &Btf) -> Result<Vec<Argument>, Mismatch> {
        let found = kernel.prototype(self.name)?.ok_or(Mismatch::Absent)?;
        let types: Vec<_> = found.iter().map(|it| it.ty.as_str()).collect();
        if types.starts_with(self.arguments) {
            return Ok(found);
        }
        Err(Mismatch::Arguments {
            found: types.join(", "),
            wanted: self.arguments.join(", "),
        })
    }
}

impl Member {
    /// As in C: `sk_buff.dev`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.structure, self.member)
    }

    /// Its offset in bytes.
    ///
    /// # Errors
    /// Where there is no such member, or not one alone.
    pub fn offset(&self, kernel: &Btf) -> Result<u32, BtfError> {
        kernel.offset(self.structure, self.member)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Kernels of Debian, cut by `cargo xtask vm --write-fixtures`.
    const KERNELS: [(&str, &[u8]); 3] = [
        ("6.1", include_bytes!("kernel/fixtures/linux-6.1.btf")),
        ("6.12", include_bytes!("kernel/fixtures/linux-6.12.btf")),
        ("7.2", include_bytes!("kernel/fixtures/linux-7.2.btf")),
    ];

    pub(super) fn kernel(release: &str) -> Btf {
        let (_, bytes) = KERNELS.iter().find(|(name, _)| *name == release).unwrap();
        Btf::parse(bytes.to_vec()).unwrap()
    }

    #[test]
    fn every_kernel_has_what_the_probe_needs() {
        for (release, bytes) in KERNELS {
            assert!(bytes.len() < 12 << 10, "{release}: {} bytes", bytes.len());
            let kernel = kernel(release);
            // What came with 6.3 is told of by what a report lacks without it.
            let there = TRACEPOINTS.into_iter().filter(|it| {
                let old = release == "6.1" && it.name == "sk_data_ready";
                !old || !matches!(it.check(&kernel), Err(Mismatch::Absent))
            });
            for tracepoint in there {
                let checked = tracepoint.check(&kernel);
                checked.unwrap_or_else(|error| panic!("{release}: {}: {error}", tracepoint.name));
            }
            for member in MEMBERS {
                let offset = member.offset(&kernel);
                offset.unwrap_or_else(|error| panic!("{release}: {error}"));
            }
        }
    }

    /// What `pahole` says of the same kernels.
    #[test]
    fn members_are_where_other_readers_see_them() {
        for (structure, member, offsets) in [
            ("sk_buff", "dev", [16, 16, 16]),
            ("sk_buff", "len", [112, 112, 112]),
            ("sk_buff", "head", [200, 200, 200]),
            ("sk_buff", "data", [208, 208, 208]),
            ("sk_buff", "network_header", [184, 184, 184]),
            ("net_device", "ifindex", [216, 224, 224]),
            ("net_device", "nd_net.net", [1272, 280, 264]),
            ("net", "ns.inum", [144, 136, 280]),
            ("sock", "__sk_common.skc_addrpair", [0, 0, 0]),
            ("sock", "__sk_common.skc_portpair", [12, 12, 12]),
        ] {
            let found = KERNELS.map(|(release, _)| kernel(release).offset(structure, member));
            let found = found.map(|offset| offset.unwrap());
            assert_eq!(found, offsets, "{structure}.{member}");
        }
    }

    #[test]
    fn members_are_of_hooks_that_there_are() {
        let known = |hook: &&str| TRACEPOINTS.iter().any(|it| it.name == *hook);
        for member in MEMBERS {
            assert!(member.needed_by.iter().all(known), "{member:?}");
            assert!(!member.needed_by.is_empty(), "{member:?}");
        }
    }

    #[test]
    fn a_kernel_that_differs_is_told_how() {
        let kernel = kernel("6.1");
        let of = |name, arguments| tracepoint(name, arguments, None, "").check(&kernel);
        let absent = of("sk_data_ready", &[]).unwrap_err();
        assert!(matches!(absent, Mismatch::Absent), "{absent}");
        let arguments = of("netif_rx", &["struct sock *"]).unwrap_err().to_string();
        let expected =
            "it has the arguments (struct sk_buff *), and the program reads (struct sock *)";
        assert_eq!(arguments, expected);
        assert!(of("netif_rx", &[SKB, DEVICE]).is_err(), "one too many");
        let member = member("sk_buff", "nothing", "", &[]).offset(&kernel);
        assert!(matches!(member, Err(BtfError::NoMember { .. })));
    }
}
