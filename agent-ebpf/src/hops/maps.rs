//! The maps that the programs share; see `nettoll_agent_common::hops` for what they hold.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap},
};
use nettoll_agent_common::hops::{
    Config, Counters, DEVICE_SLOTS, DeviceEntry, EDGES, EdgeCell, FLOWS, FlowKey, FlowRef,
    FlowState, Loss, Nest, PACKET_SLOTS, PacketSlot, ProgramCode, SelfCell, WIRE_SLOTS, WireSlot,
};

#[map]
pub(crate) static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map]
static DEVICES: Array<DeviceEntry> = Array::with_max_entries(DEVICE_SLOTS as u32, 0);
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
pub(crate) static EDGE_CELLS: PerCpuHashMap<u32, EdgeCell> =
    PerCpuHashMap::with_max_entries(EDGES as u32, 0);
#[map]
pub(crate) static NEW_EDGE: Array<EdgeCell> = Array::with_max_entries(1, 0);
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

/// This CPU's nest of transmit calls.
#[inline(always)]
pub(crate) fn nest() -> Option<&'static mut Nest> {
    // SAFETY: per CPU, and no program that uses it is interrupted by another one that does:
    // transmit calls run with bottom halves off.
    NEST.get_ptr_mut(0).map(|nest| unsafe { &mut *nest })
}

/// This CPU's counters.
#[inline(always)]
fn counters() -> Option<&'static mut Counters> {
    // SAFETY: per CPU; an interrupt between load and store can lose one count.
    COUNTERS
        .get_ptr_mut(0)
        .map(|counters| unsafe { &mut *counters })
}

/// Counts a run of a program.
#[inline(always)]
pub(crate) fn count_run(program: ProgramCode) {
    if let Some(counters) = counters() {
        counters.runs[program as usize] += 1;
    }
}

/// Counts a hop that a program stored.
#[inline(always)]
pub(crate) fn count_match(program: ProgramCode) {
    if let Some(counters) = counters() {
        counters.matched[program as usize] += 1;
    }
}

/// Counts what is not counted.
#[inline(always)]
pub(crate) fn count_loss(loss: Loss) {
    if let Some(counters) = counters() {
        counters.lost[loss as usize] += 1;
    }
}
