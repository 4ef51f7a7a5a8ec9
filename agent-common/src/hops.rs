//! The maps of the hop programs.

/// Flows that can be followed at once.
pub const FLOWS: usize = 64;
/// Entries of the device table, a power of two: so many that a seed without collisions is found.
pub const DEVICE_SLOTS: usize = 1 << 14;
/// Packets that can be followed at once: a direct-mapped table, a power of two.
pub const PACKET_SLOTS: usize = 1 << 14;
/// Packets that can be on the wire at once: a direct-mapped table, a power of two.
pub const WIRE_SLOTS: usize = 1 << 12;
/// Edges that can be counted at once, of all flows, a power of two.
pub const EDGES: usize = 512;
/// Places where an edge's cell can be, one after the other.
pub const EDGE_PLACES: u32 = 4;
/// Calls of transmit functions that can be nested on one CPU, a power of two.
pub const NESTING: usize = 8;
/// Buckets of a histogram: 8 for each octave, times up to 2³⁶ ns (68 s).
pub const BUCKETS: usize = 272;
/// Buckets for each octave, as a power of two.
pub const SUB_BITS: u32 = 3;

/// The bucket of a time: exact below 16 ns, then 8 for each octave (HDR layout). The exponent is
/// searched by halves because BPF has no instruction that counts leading zeros.
#[inline(always)]
#[must_use]
pub const fn bucket(ns: u64) -> u32 {
    if ns >> 36 != 0 {
        return BUCKETS as u32 - 1;
    }
    let mut rest = ns;
    let mut shift = 0;
    if rest >> 20 != 0 {
        rest >>= 16;
        shift += 16;
    }
    if rest >> 12 != 0 {
        rest >>= 8;
        shift += 8;
    }
    if rest >> 8 != 0 {
        rest >>= 4;
        shift += 4;
    }
    if rest >> 6 != 0 {
        rest >>= 2;
        shift += 2;
    }
    if rest >> 5 != 0 {
        rest >>= 1;
        shift += 1;
    }
    if rest >> 4 != 0 {
        rest >>= 1;
        shift += 1;
    }
    (shift << SUB_BITS) + rest as u32
}

/// A device is one of those that hops are counted on.
pub const DEVICE_OWN: u16 = 1;
/// Packets of followed flows may begin or end here: an endpoint's device.
pub const DEVICE_ENDPOINT: u16 = 2;
/// Carries the route to the other node.
pub const DEVICE_UNDERLAY: u16 = 4;
/// Another node's underlay device: the end of a packet's way on the wire.
pub const DEVICE_PEER: u16 = 8;
/// A tunnel: the exact self time of its transmit function leaves the programs themselves out.
pub const DEVICE_TUNNEL: u16 = 16;

/// One entry of the device table. The table is direct-mapped by [`device_slot`] with a seed
/// under which no two of its devices collide.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceEntry {
    /// Inode of the network namespace; 0 for an empty entry.
    pub netns: u32,
    /// Interface index in it.
    pub ifindex: u32,
    /// The device's number in edge keys, below 256.
    pub index: u16,
    /// `DEVICE_*`.
    pub flags: u16,
}

/// Where a device is in the table.
#[inline(always)]
#[must_use]
pub const fn device_slot(netns: u32, ifindex: u32, seed: u32) -> u32 {
    let mixed = (netns ^ ifindex.rotate_left(16) ^ seed).wrapping_mul(0x9E37_79B1);
    mixed >> (32 - DEVICE_SLOTS.trailing_zeros())
}

/// Entries of one CPU's cache of the device table, a power of two.
pub const DEVICE_CACHE: usize = 256;

/// A device as a CPU has found it in the table, by the address of its `net_device`: this saves
/// three loads through the device and its namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownDevice {
    /// Key of the address.
    pub key: u64,
    /// The [`Config::generation`] under which it was found.
    pub generation: u32,
    /// As in the table.
    pub index: u16,
    /// As in the table; 0 for a device that is not in it.
    pub flags: u16,
}

/// What the programs read beside the tables.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Differs after each change of the device table; never 0 once there is one.
    pub generation: u32,
    /// Seed of [`device_slot`].
    pub seed: u32,
    /// Not 0 where `net_dev_xmit` is attached, so that self times are measured.
    pub exact: u32,
    /// UDP ports of the VXLAN devices in the table, host order; 0 for none.
    pub vxlan_ports: [u16; 2],
}

/// A 5-tuple in one direction. IPv4 addresses are IPv4-mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey {
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// Source port, host order.
    pub source_port: u16,
    /// Destination port, host order.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u32,
}

/// Which flow, which way.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRef {
    /// Index of its [`FlowState`], below [`FLOWS`].
    pub flow: u16,
    /// 0 request, 1 response.
    pub direction: u16,
}

/// A followed flow; shared with its traffic threads by mapping the map's memory.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowState {
    /// Not 0 between a round's marks.
    pub counted: u32,
    /// Differs for each registration, never 0 for a registered flow.
    pub generation: u32,
    /// The traffic thread's stamp before its send call, by direction; 0 when used up.
    pub sent_ns: [u64; 2],
    /// Receive on the endpoint's device, by direction; 0 when used up.
    pub received_ns: [u64; 2],
    /// Device index of each direction's first hop; `NO_DEVICE` where that is not here.
    pub origin: [u16; 2],
    /// Device index of each direction's last hop; `NO_DEVICE` where that is not here.
    pub terminal: [u16; 2],
    /// Packets go on being followed by address over the wire (`path_cost`: both nodes are
    /// counted by one agent).
    pub over_wire: u32,
    /// Fills the cache line.
    pub pad: u32,
}

/// No device: the hop is on another node.
pub const NO_DEVICE: u16 = u16::MAX;

/// The events, as numbered in edge keys.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventCode {
    /// The traffic thread's stamp before its send call.
    UserSend = 0,
    /// `net_dev_queue`.
    Queue = 1,
    /// `net_dev_start_xmit`.
    StartXmit = 2,
    /// `netif_rx`.
    NetifRx = 3,
    /// `napi_gro_receive_entry`.
    GroReceive = 4,
    /// `netif_receive_skb`.
    Receive = 5,
    /// `skb_copy_datagram_iovec`.
    Copy = 6,
}

/// A hop: device index and event.
#[inline(always)]
#[must_use]
pub const fn hop_code(device: u16, event: EventCode) -> u16 {
    (device << 4) | event as u16
}

/// The key of an edge: flow (6 bits), direction, many segments, earlier hop (12), later hop (12).
#[inline(always)]
#[must_use]
pub const fn edge_key(flow: u16, direction: u16, many: bool, from: u16, to: u16) -> u32 {
    ((flow as u32 & 63) << 26)
        | ((direction as u32 & 1) << 25)
        | ((many as u32) << 24)
        | ((from as u32 & 0xFFF) << 12)
        | (to as u32 & 0xFFF)
}

/// A packet that is being followed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketSlot {
    /// Key of its `sk_buff`'s address; 0 for an empty slot.
    pub skb: u64,
    /// When it passed the last hop.
    pub last_ns: u64,
    /// The flow's registration.
    pub generation: u32,
    /// TCP sequence number, or the low half of the sequence in the payload.
    pub sequence: u32,
    /// Payload bytes.
    pub bytes: u32,
    /// Wire packets in it.
    pub segments: u16,
    /// The last hop.
    pub last: u16,
    /// Index of the flow's state.
    pub flow: u16,
    /// 0 request, 1 response.
    pub direction: u16,
    /// `PACKET_*`.
    pub state: u32,
}

/// On its way.
pub const PACKET_MOVING: u32 = 0;
/// Received on the endpoint's device: only a copy to user space may follow.
pub const PACKET_DELIVERED: u32 = 1;
/// Seen on another node's underlay device: done, but its further receives must not be parsed
/// again.
pub const PACKET_PASSED: u32 = 2;

/// A packet that left on the underlay device.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireSlot {
    /// Flow, direction and sequence; 0 for an empty slot.
    pub key: u64,
    /// When it left.
    pub sent_ns: u64,
    /// The hop by which it left.
    pub hop: u16,
    /// Wire packets in it.
    pub segments: u16,
    /// Payload bytes.
    pub bytes: u32,
}

/// The key of a packet on the wire.
#[inline(always)]
#[must_use]
pub const fn wire_key(generation: u32, direction: u16, sequence: u32) -> u64 {
    ((((generation as u64) << 1) | direction as u64) << 32) | sequence as u64
}

/// Where an edge's cell is looked for first.
#[inline(always)]
#[must_use]
pub const fn edge_slot(key: u32) -> u32 {
    key.wrapping_mul(0x9E37_79B1) >> (32 - EDGES.trailing_zeros())
}

/// What is counted of an edge on one CPU. Cells are an open-addressed table in a per-CPU array:
/// there is no helper call in looking one up.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeCell {
    /// [`edge_key`]; 0 for an empty cell (no edge ends in [`EventCode::UserSend`]).
    pub key: u32,
    /// Keeps the alignment.
    pub pad: u32,
    /// Data-carrying `sk_buff`s.
    pub packets: u64,
    /// Wire packets in them.
    pub segments: u64,
    /// Packets without payload.
    pub ack_packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Sum of the times.
    pub sum_ns: u64,
    /// Times, by [`bucket`].
    pub histogram: [u32; BUCKETS],
}

/// The key of a self time: flow, direction and device.
#[inline(always)]
#[must_use]
pub const fn self_key(flow: u16, direction: u16, device: u16) -> u32 {
    ((flow as u32 & 63) << 16) | ((direction as u32 & 1) << 15) | (device as u32 & 0xFF)
}

/// Self time of one device's transmit function on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelfCell {
    /// Calls.
    pub calls: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Time in it, less what is nested.
    pub self_ns: u64,
    /// How often a program was left and the next one entered in that time; tunnels only.
    pub seams: u64,
}

/// What leaving one program and entering the next takes, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeamTime {
    /// When the program was left; 0 for not.
    pub left_ns: u64,
    /// How often.
    pub count: u64,
    /// Time in all.
    pub sum_ns: u64,
}

/// One call of a transmit function that has not returned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Key of the `net_device`'s address.
    pub device: u64,
    /// When it was called.
    pub start_ns: u64,
    /// Time in calls nested in it.
    pub children_ns: u64,
    /// [`self_key`], with `FRAME_TUNNEL` or not, or `UNFOLLOWED`.
    pub key: u32,
    /// Payload bytes.
    pub bytes: u32,
    /// Nested calls so far.
    pub children: u32,
    /// Unused.
    pub pad: u32,
}

/// In a [`Frame`]'s key: of a tunnel. Not in any [`self_key`].
pub const FRAME_TUNNEL: u32 = 1 << 31;

/// A nested call for a packet that nobody follows.
pub const UNFOLLOWED: u32 = u32::MAX;

/// The calls nested on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nest {
    /// How many frames are in use.
    pub depth: u32,
    /// Calls deeper than [`NESTING`], not measured.
    pub overflow: u32,
    /// Outermost first.
    pub frames: [Frame; NESTING],
}

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
}

/// How many programs there are.
pub const PROGRAMS: usize = 9;

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
    /// The time since the last hop is negative or above [`STALE_NS`].
    Stale = 3,
    /// A transmit function's end without its begin, or too deep a nest.
    Nesting = 4,
    /// The kernel freed a followed packet on the way: dropped.
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

/// A call of a transmit function that takes longer than this, and [`INTERRUPTED_TIMES`] as long as
/// the mean of those before, was interrupted for longer than by a timer's tick (with the sampler's
/// some 20 µs): as a rule a virtual CPU waited for a real one. Ticks stay in, as they do in busy
/// time, which the samples share out.
pub const INTERRUPTED_NS: u64 = 100_000;
/// See [`INTERRUPTED_NS`].
pub const INTERRUPTED_TIMES: u64 = 8;

/// A followed packet that does nothing for so long is not the same packet any more.
pub const STALE_NS: u64 = 10_000_000_000;

/// One CPU's counters.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Times each program ran.
    pub runs: [u64; PROGRAMS],
    /// Times each program stored a hop of a followed flow.
    pub matched: [u64; PROGRAMS],
    /// What was not counted, by [`Loss`].
    pub lost: [u64; LOSSES],
}

/// The header of the tests' own messages: magic, run, sequence (big endian).
pub const MESSAGE_MAGIC: u32 = 0x6E74_6F6C; // "ntol"

const _: () = {
    assert!(size_of::<DeviceEntry>() == 12);
    assert!(size_of::<KnownDevice>() == 16);
    assert!(size_of::<Config>() == 16);
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<FlowState>() == 64);
    assert!(size_of::<PacketSlot>() == 40);
    assert!(size_of::<WireSlot>() == 24);
    assert!(size_of::<EdgeCell>() == 48 + 4 * BUCKETS);
    assert!(size_of::<SelfCell>() == 32);
    assert!(size_of::<SeamTime>() == 24);
    assert!(size_of::<Frame>() == 40);
    assert!(size_of::<Nest>() == 8 + 40 * NESTING);
    assert!(size_of::<Counters>() == 8 * (2 * PROGRAMS + LOSSES));
};

#[cfg(feature = "user")]
mod user {
    #![expect(unsafe_code, reason = "the types hold plain integers without padding")]

    macro_rules! pod {
        ($($type:ty),*) => {
            $(
                // SAFETY: `repr(C)`, integers only, no padding (sizes asserted above), so that
                // every bit pattern is a value and every byte of a value is defined.
                unsafe impl aya::Pod for $type {}
            )*
        };
    }

    pod!(
        super::DeviceEntry,
        super::Config,
        super::FlowKey,
        super::FlowRef,
        super::FlowState,
        super::PacketSlot,
        super::WireSlot,
        super::EdgeCell,
        super::SelfCell,
        super::SeamTime,
        super::Nest,
        super::Counters
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_monotonic_and_within_an_eighth() {
        let mut last = 0;
        for ns in 0..100_000_u64 {
            let index = bucket(ns);
            assert!(index == last || index == last + 1, "{ns}");
            last = index;
        }
        assert_eq!(bucket(15), 15);
        assert_eq!(bucket(16), 16);
        assert_eq!(bucket(17), 16);
        assert_eq!(bucket(u64::MAX), BUCKETS as u32 - 1);
        assert_eq!(bucket((1 << 36) - 1), BUCKETS as u32 - 1);
    }
}
