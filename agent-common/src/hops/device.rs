//! Which devices hops are counted on.

/// Entries of the device table, a power of two: so many that a seed without collisions is found.
pub const DEVICE_SLOTS: usize = 1 << 14;
/// A device is one of those that hops are counted on.
pub const DEVICE_OWN: u16 = 1;
/// Packets of followed flows may begin or end here: an endpoint's device.
pub const DEVICE_ENDPOINT: u16 = 2;
/// Carries the route to the other node: packets go to it here, and are first known here on arrival.
pub const DEVICE_UNDERLAY: u16 = 4;
/// Where packets are first known on another node: the end of their way on the wire.
pub const DEVICE_PEER: u16 = 8;
/// A tunnel: the exact self time of its transmit function leaves the programs themselves out.
pub const DEVICE_TUNNEL: u16 = 16;
/// A tunnel that encrypts: packets of the other node may be first known here.
pub const DEVICE_ENTRY: u16 = 32;

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

/// No device: the hop is on another node.
pub const NO_DEVICE: u16 = u16::MAX;
