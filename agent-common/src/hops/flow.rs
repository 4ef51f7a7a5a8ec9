//! Which packets are followed.

/// Flows that can be followed at once.
pub const FLOWS: usize = 64;

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
    /// Differs for each registration, never 0 for a registered flow.
    pub generation: u32,
    /// Not 0 between a round's marks.
    pub counted: u8,
    /// Packets go on being followed by address over the wire (`path_cost`: both nodes are
    /// counted by one agent).
    pub over_wire: u8,
    /// Not 0 where hops are kept one by one, in the flow's [`Trail`](super::Trail).
    pub trail: u8,
    /// Always 0.
    pub pad: u8,
    /// The traffic thread's stamp before its send call, by direction; 0 when used up.
    pub sent_ns: [u64; 2],
    /// Receive on the endpoint's device, by direction; 0 when used up.
    pub received_ns: [u64; 2],
    /// The socket told that there are data, by direction; 0 when used up. With [`READY_BACKLOG`] or
    /// not.
    pub ready_ns: [u64; 2],
    /// Device index of each direction's first hop; `NO_DEVICE` where that is not here.
    pub origin: [u16; 2],
    /// Device index of each direction's last hop; `NO_DEVICE` where that is not here.
    pub terminal: [u16; 2],
}

/// In a flow's `ready_ns`: the socket was its user's when the packet came, so that it waited in the
/// socket's backlog until the user let go.
pub const READY_BACKLOG: u64 = 1 << 63;

/// The header of the tests' own messages: magic, run, sequence (big endian).
pub const MESSAGE_MAGIC: u32 = 0x6E74_6F6C; // "ntol"
