//! What the programs did, and what they lost.

/// The programs, as numbered in the counters.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramCode {
    /// On `net_dev_queue`.
    Queue = 0,
    /// On `net_dev_start_xmit`.
    StartXmit = 1,
    /// On `net_dev_xmit`.
    Xmit = 2,
    /// On `netif_rx`.
    NetifRx = 3,
    /// On `napi_gro_receive_entry`.
    GroReceive = 4,
    /// On `netif_receive_skb`.
    Receive = 5,
    /// On `skb_copy_datagram_iovec`.
    Copy = 6,
    /// On `consume_skb`.
    Consume = 7,
    /// On `kfree_skb`.
    Free = 8,
    /// On `sk_data_ready`.
    Ready = 9,
}

/// How many programs there are.
pub const PROGRAMS: usize = 10;

/// Why something was not counted.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A followed packet's slot was taken by another packet.
    SlotTaken = 0,
    /// No room for a further edge.
    EdgesFull = 1,
    /// A packet on the wire was overwritten before it arrived.
    WireTaken = 2,
    /// A followed packet was not seen to end: the time since its last hop is negative or above
    /// [`STALE_NS`], or a packet that comes from the other node has its address.
    Stale = 3,
    /// A transmit function's end without its begin, or too deep a nest.
    Nesting = 4,
    /// The kernel dropped a followed packet. It is in the table of drops too, where there is room and
    /// its headers tell whose it is.
    Dropped = 5,
    /// A header could not be read.
    Unreadable = 6,
    /// A followed packet ended on the way without a drop: merged into another one.
    Merged = 7,
    /// A transmit function was interrupted: its call counts with the mean of those before.
    Interrupted = 8,
}

/// How many reasons there are.
pub const LOSSES: usize = 9;
/// Their names, as in results and metrics.
pub const LOSS_NAMES: [&str; LOSSES] = [
    "slot_taken",
    "edges_full",
    "wire_taken",
    "stale",
    "nesting",
    "dropped_by_kernel",
    "unreadable",
    "merged",
    "interrupted",
];

/// One program's counters.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramCounters {
    /// Times it ran.
    pub runs: u64,
    /// Times it stored a hop of a followed flow.
    pub matched: u64,
}

/// One CPU's counters.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By [`ProgramCode`].
    pub programs: [ProgramCounters; PROGRAMS],
    /// What was not counted, by [`Loss`].
    pub lost: [u64; LOSSES],
}
