//! What the CPU was busy with, by sampled stacks.
//!
//! Each sample is counted once by [`component`]: the class of its innermost frame that the table
//! in `component/table.rs` knows, so a helper that it does not know counts for its caller.
//! [`in_region`] looks at the whole stack instead: all that is done on a tunnel's behalf,
//! whichever layer does it.
//!
//! **What sampling cannot tell.** Where the hardware counts no cycles, samples come from a timer
//! interrupt: what runs with interrupts off is seen at the function that switches them on again,
//! often `_raw_spin_unlock_irqrestore` or `handle_softirqs`, and counts as `locking` or `softirq`.
//! Inlined functions count for the function that they were inlined into.

use crate::api::Stack;

mod region;
mod shares;
mod table;
#[cfg(test)]
mod tests;

pub use region::{Region, in_region};
pub use shares::{Shares, USER_FRAME, folded, shares, unfolded};

/// The classes of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// A tunnel's transmit function and what only it uses.
    Encap,
    /// A tunnel's receive function, and its GRO cells.
    Decap,
    /// The bridge.
    Bridge,
    /// Virtual cables.
    Veth,
    /// Tables, chains and hooks.
    Netfilter,
    /// Connection tracking, and address translation by it.
    Conntrack,
    /// Routes and neighbours.
    Routing,
    /// The device layer's transmit side: queueing disciplines and the hand-over to a device.
    Qdisc,
    /// Drivers of real and emulated network cards, TUN, and the loopback device.
    Driver,
    /// Merging and splitting packets.
    GroGso,
    /// Checksums.
    Checksum,
    /// IPv4 and IPv6.
    Ip,
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// What is common to all sockets.
    Socket,
    /// Copying payload.
    Copy,
    /// Allocating and freeing.
    Memory,
    /// Locks and RCU.
    Locking,
    /// Waking, sleeping and switching.
    Scheduler,
    /// The device layer's receive side and softirq itself.
    Softirq,
    /// eBPF programs, those of the probe among them.
    Bpf,
    /// User space.
    User,
    /// The CPU had nothing to do.
    Idle,
    /// What the table does not know.
    Other,
}

impl Component {
    /// All, in the order of the design.
    pub const ALL: [Self; 24] = [
        Self::Encap,
        Self::Decap,
        Self::Bridge,
        Self::Veth,
        Self::Netfilter,
        Self::Conntrack,
        Self::Routing,
        Self::Qdisc,
        Self::Driver,
        Self::GroGso,
        Self::Checksum,
        Self::Ip,
        Self::Udp,
        Self::Tcp,
        Self::Socket,
        Self::Copy,
        Self::Memory,
        Self::Locking,
        Self::Scheduler,
        Self::Softirq,
        Self::Bpf,
        Self::User,
        Self::Idle,
        Self::Other,
    ];

    /// The word of the design.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Encap => "encap",
            Self::Decap => "decap",
            Self::Bridge => "bridge",
            Self::Veth => "veth",
            Self::Netfilter => "netfilter",
            Self::Conntrack => "conntrack",
            Self::Routing => "routing",
            Self::Qdisc => "qdisc",
            Self::Driver => "driver",
            Self::GroGso => "gro_gso",
            Self::Checksum => "checksum",
            Self::Ip => "ip",
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Socket => "socket",
            Self::Copy => "copy",
            Self::Memory => "memory",
            Self::Locking => "locking",
            Self::Scheduler => "scheduler",
            Self::Softirq => "softirq",
            Self::Bpf => "bpf",
            Self::User => "user",
            Self::Idle => "idle",
            Self::Other => "other",
        }
    }
}

/// The class of a sample.
///
/// The idle thread runs softirq too, so its name alone says nothing: it counts as idle where no
/// frame says otherwise.
#[must_use]
pub fn component(stack: &Stack) -> Component {
    if stack.frames.is_empty() {
        return Component::User;
    }
    let known = |frame: &String| table::lookup(function(frame));
    match stack.frames.iter().rev().find_map(known) {
        Some(component) => component,
        None if stack.thread.starts_with("swapper") => Component::Idle,
        None => Component::Other,
    }
}

/// The function's name as the table writes it: without offset (`+0x1c/0x80`), module
/// (` [vxlan]`), the compiler's suffix (`.isra.0`, `.cold`) and leading underscores.
fn function(frame: &str) -> &str {
    let end = frame.find([' ', '+', '.']).unwrap_or(frame.len());
    frame[..end].trim_start_matches('_')
}
