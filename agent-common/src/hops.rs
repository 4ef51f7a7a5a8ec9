//! The maps of the hop programs: which devices and flows they look at, what they keep of a packet
//! under way and of single requests, what they count between two hops, in a transmit function and of dropped packets, and
//! their counters.

mod counters;
mod device;
mod drops;
mod edge;
mod flow;
mod nest;
mod packet;
mod trail;

pub use self::{counters::*, device::*, drops::*, edge::*, flow::*, nest::*, packet::*, trail::*};

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
    /// The same of the Geneve devices.
    pub geneve_ports: [u16; 2],
}

/// What each CPU has of its own, beside its cells.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Of the programs' runs on it.
    pub counters: Counters,
    /// Calls that are open on it.
    pub nest: Nest,
    /// Followed packets with payload that were received for a socket here, less the times that a
    /// socket has told since that it has data of one.
    pub delivered: u64,
    /// Fills the cache line.
    pub fill: [u64; 1],
}

const _: () = {
    assert!(size_of::<DeviceEntry>() == 12);
    assert!(size_of::<KnownDevice>() == 16);
    assert!(size_of::<Config>() == 20);
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<FlowState>() == 64);
    assert!(size_of::<PacketSlot>() == 64);
    assert!(size_of::<WireSlot>() == 24);
    assert!(size_of::<TrailHop>() == 16);
    assert!(size_of::<Trail>() == 64 + 16 * TRAIL_HOPS);
    assert!(size_of::<DropKey>() == 12);
    assert!(size_of::<DropCount>() == 32);
    assert!(size_of::<EdgeCell>() == 18 * 64);
    assert!(size_of::<SelfCell>() == 64);
    assert!(size_of::<SeamTime>() == 24);
    assert!(size_of::<Frame>() == 40);
    assert!(size_of::<Nest>() == 8 + 40 * NESTING);
    assert!(size_of::<Counters>() == 8 * (2 * PROGRAMS + LOSSES));
    assert!(size_of::<Cpu>() == size_of::<Counters>() + size_of::<Nest>() + 16);
    assert!(size_of::<Cpu>().is_multiple_of(64));
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
        super::DropKey,
        super::DropCount,
        super::EdgeCell,
        super::SelfCell,
        super::Cpu,
        super::Trail,
        super::SeamTime
    );
}
