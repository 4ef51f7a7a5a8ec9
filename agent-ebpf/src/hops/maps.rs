//! The maps that the programs share; see `nettoll_agent_common::hops` for what they hold.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap},
};
use nettoll_agent_common::hops::{
    Config, Counters, DEVICE_CACHE, DEVICE_SLOTS, DeviceEntry, EDGE_PLACES, EDGES, EdgeCell, FLOWS,
    FlowKey, FlowRef, FlowState, KnownDevice, Loss, Nest, PACKET_SLOTS, PacketSlot, ProgramCode,
    SelfCell, WIRE_SLOTS, WireSlot, edge_slot,
};

#[map]
pub(crate) static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map]
static DEVICES: Array<DeviceEntry> = Array::with_max_entries(DEVICE_SLOTS as u32, 0);
#[map]
static DEVICES_KNOWN: PerCpuArray<KnownDevice> =
    PerCpuArray::with_max_entries(DEVICE_CACHE as u32, 0);
#[map(name = "FLOWS")]
pub(crate) static FLOW_KEYS: HashMap<FlowKey, FlowRef> =
    HashMap::with_max_entries(4 * FLOWS as u32, 0);
#[map]
static STATES: Array<FlowState> = Array::with_max_entries(FLOWS as u32, BPF_F_MMAPABLE);
#[map]
static PACKETS: Array<PacketSlot> = Array::with_max_entries(PACKET_SLOTS as u32, 0);
#[map]
static WIRE: Array<WireSlot> = Array::with_max_entries(WIRE_SLOTS as u32, 0);
#[map(name = "EDGES")]
static EDGE_CELLS: PerCpuArray<EdgeCell> = PerCpuArray::with_max_entries(EDGES as u32, 0);
#[map]
pub(crate) static SELF_TIMES: PerCpuHashMap<u32, SelfCell> =
    PerCpuHashMap::with_max_entries(EDGES as u32, 0);
#[map]
static NEST: PerCpuArray<Nest> = PerCpuArray::with_max_entries(1, 0);
#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

macro_rules! element {
    ($(#[$doc:meta])* $name:ident, $map:ident, $value:ty) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(index: u32) -> Option<&'static mut $value> {
            // SAFETY: the pointer is into the map, which lives as long as the program. Other
            // CPUs may write the same element; the values are plain integers, each reader
            // checks what it reads (address, generation), and no reference outlives the run.
            $map.get_ptr_mut(index).map(|value| unsafe { &mut *value })
        }
    };
}

element! {
    /// The entry of the device table.
    device, DEVICES, DeviceEntry
}
element! {
    /// A flow's state.
    flow_state, STATES, FlowState
}
element! {
    /// A followed packet's slot.
    packet, PACKETS, PacketSlot
}
element! {
    /// A slot of the packets on the wire.
    wire, WIRE, WireSlot
}

/// An entry of this CPU's cache of devices.
#[inline(always)]
pub(crate) fn known_device(index: u32) -> Option<&'static mut KnownDevice> {
    // SAFETY: per CPU, and hops are passed in softirq or with bottom halves off.
    DEVICES_KNOWN
        .get_ptr_mut(index)
        .map(|known| unsafe { &mut *known })
}

/// This CPU's nest of transmit calls.
#[inline(always)]
pub(crate) fn nest() -> Option<&'static mut Nest> {
    // SAFETY: per CPU, and no program that uses it is interrupted by another one that does:
    // transmit calls run with bottom halves off.
    NEST.get_ptr_mut(0).map(|nest| unsafe { &mut *nest })
}

/// Counts a program's run; this CPU's counters.
#[inline(always)]
pub(crate) fn run(program: ProgramCode) -> Option<&'static mut Counters> {
    // SAFETY: per CPU; an interrupt between load and store can lose one count.
    let counters = unsafe { &mut *COUNTERS.get_ptr_mut(0)? };
    counters.runs[program as usize] += 1;
    Some(counters)
}

/// Counts what is not counted.
#[inline(always)]
pub(crate) fn lose(counters: &mut Counters, reason: Loss) {
    counters.lost[reason as usize] += 1;
}

/// The edge's cell on this CPU, an empty one where it is new. `None` where there is no room.
#[inline(always)]
pub(crate) fn edge(key: u32) -> Option<&'static mut EdgeCell> {
    let first = edge_slot(key);
    let mut place = 0;
    while place < EDGE_PLACES {
        // SAFETY: per CPU. Hops are stored in softirq or with bottom halves off: no other hop
        // comes between look and claim.
        let cell = unsafe { &mut *EDGE_CELLS.get_ptr_mut((first + place) % EDGES as u32)? };
        if cell.key == 0 {
            cell.key = key;
        }
        if cell.key == key {
            return Some(cell);
        }
        place += 1;
    }
    None
}
