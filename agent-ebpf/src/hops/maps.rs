//! The maps that the programs share; see `nettoll_agent_common::hops` for what they hold.
//!
//! What each CPU writes for itself is in plain arrays with a part for each CPU, not in per-CPU
//! maps: those keep each value apart from all others, behind a table of pointers, and are read by
//! a system call for each value. User space gives them their sizes and maps their memory, which
//! begins at a page, so that no cell shares a cache line.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::generated::bpf_get_smp_processor_id,
    macros::map,
    maps::{Array, HashMap, PerCpuHashMap},
};
use nettoll_agent_common::hops::{
    CELLS, Config, Counters, Cpu, DEVICE_CACHE, DEVICE_SLOTS, DROPS, DeviceEntry, DropCount,
    DropKey, EdgeCell, FLOWS, FlowKey, FlowRef, FlowState, KnownDevice, Loss, Nest, PACKET_SLOTS,
    PLACES, PacketSlot, ProgramCode, SelfCell, Trail, WIRE_SLOTS, WireSlot, first_place,
};

#[map]
pub(crate) static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map]
static DEVICES: Array<DeviceEntry> = Array::with_max_entries(DEVICE_SLOTS as u32, 0);
#[map(name = "FLOWS")]
// Three tuples at most, in both directions.
pub(crate) static FLOW_KEYS: HashMap<FlowKey, FlowRef> =
    HashMap::with_max_entries(6 * FLOWS as u32, 0);
#[map]
static STATES: Array<FlowState> = Array::with_max_entries(FLOWS as u32, BPF_F_MMAPABLE);
#[map]
static PACKETS: Array<PacketSlot> = Array::with_max_entries(PACKET_SLOTS as u32, BPF_F_MMAPABLE);
#[map]
static WIRE: Array<WireSlot> = Array::with_max_entries(WIRE_SLOTS as u32, 0);
#[map]
static TRAILS: Array<Trail> = Array::with_max_entries(FLOWS as u32, BPF_F_MMAPABLE);
#[map(name = "DROPS")]
pub(crate) static DROP_COUNTS: PerCpuHashMap<DropKey, DropCount> =
    PerCpuHashMap::with_max_entries(DROPS as u32, 0);

// Of each CPU, one after the other.
#[map]
static CPUS: Array<Cpu> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static DEVICES_KNOWN: Array<KnownDevice> =
    Array::with_max_entries(DEVICE_CACHE as u32, BPF_F_MMAPABLE);
#[map]
static EDGES: Array<EdgeCell> = Array::with_max_entries(CELLS as u32, BPF_F_MMAPABLE);
#[map]
static SELF_TIMES: Array<SelfCell> = Array::with_max_entries(CELLS as u32, BPF_F_MMAPABLE);

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
element! {
    /// A flow's trail.
    trail, TRAILS, Trail
}

element! {
    /// What a CPU has of its own. No program that uses its nest is interrupted by another one that
    /// does: transmit calls run with bottom halves off.
    of_cpu, CPUS, Cpu
}
element! {
    /// An entry of a CPU's cache of devices.
    known_device, DEVICES_KNOWN, KnownDevice
}

/// The CPU that a program runs on.
pub(crate) struct Here {
    cpu: u32,
    pub(crate) counters: &'static mut Counters,
    pub(crate) nest: &'static mut Nest,
    pub(crate) delivered: &'static mut u64,
}

impl Here {
    /// Counts a program's run. An interrupt between load and store can lose one count.
    #[inline(always)]
    pub(crate) fn run(program: ProgramCode) -> Option<Self> {
        // SAFETY: a helper without arguments.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        let Cpu {
            counters,
            nest,
            delivered,
            ..
        } = of_cpu(cpu)?;
        counters.programs[program as usize].runs += 1;
        Some(Self {
            cpu,
            counters,
            nest,
            delivered,
        })
    }

    /// Counts a hop that a program stored.
    #[inline(always)]
    pub(crate) fn matched(&mut self, program: ProgramCode) {
        self.counters.programs[program as usize].matched += 1;
    }

    /// Counts what is not counted.
    #[inline(always)]
    pub(crate) fn lose(&mut self, reason: Loss) {
        self.counters.lost[reason as usize] += 1;
    }

    /// An entry of the cache of devices.
    #[inline(always)]
    pub(crate) fn known_device(&self, entry: u32) -> Option<&'static mut KnownDevice> {
        known_device(self.cpu * DEVICE_CACHE as u32 + entry)
    }
}

macro_rules! cell {
    ($(#[$doc:meta])* $name:ident, $map:ident, $value:ty) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(here: &Here, key: u32) -> Option<&'static mut $value> {
            let first = first_place(key);
            let mut place = 0;
            while place < PLACES {
                let index = here.cpu * CELLS as u32 + (first + place) % CELLS as u32;
                // SAFETY: of this CPU alone. Hops are stored in softirq or with bottom halves
                // off: no other hop comes between look and claim.
                let cell = unsafe { &mut *$map.get_ptr_mut(index)? };
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
    };
}

cell! {
    /// The edge's cell on this CPU, an empty one where it is new. `None` where there is no room.
    edge, EDGES, EdgeCell
}
cell! {
    /// The self time's cell, as [`edge`]'s.
    self_time, SELF_TIMES, SelfCell
}
