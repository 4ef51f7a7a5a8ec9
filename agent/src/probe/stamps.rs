//! The memory that a flow's traffic threads share with the probe: one mapped array, one cache
//! line a flow, written and read by plain atomic stores and loads.

use std::sync::{
    Arc,
    atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering},
};

use aya::Ebpf;
use nettoll_agent_common::hops::{FLOWS, FlowState};
use nettoll_core::hop::Direction;

use super::{ProbeError, memory::Memory};

/// [`FlowState`] as seen from a thread: the same layout, in atomics.
#[repr(C, align(64))]
pub(super) struct Shared {
    pub(super) counted: AtomicU32,
    pub(super) generation: AtomicU32,
    sent_ns: [AtomicU64; 2],
    received_ns: [AtomicU64; 2],
    pub(super) origin: [AtomicU16; 2],
    pub(super) terminal: [AtomicU16; 2],
    pub(super) over_wire: AtomicU32,
    _pad: u32,
}

const _: () = assert!(size_of::<Shared>() == size_of::<FlowState>());

/// The mapped array.
pub(super) struct States(Memory<Shared>);

impl States {
    /// Maps the `STATES` array.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Arc<Self>, ProbeError> {
        Ok(Arc::new(Self(Memory::of(ebpf, "STATES", FLOWS)?)))
    }

    /// The state of a flow.
    pub(super) fn get(&self, flow: usize) -> &Shared {
        #[expect(unsafe_code, reason = "memory shared with the kernel")]
        // SAFETY: it lives as long as `self`, was zeroed by the kernel, any bits are values of the
        // atomics, and nobody has it otherwise.
        unsafe {
            self.0.at(flow).as_ref()
        }
    }
}

/// The stamps of one flow. Cheap to clone; all methods are a few plain stores and loads. Times
/// are of `CLOCK_MONOTONIC`, in ns: the clock of `bpf_ktime_get_ns`.
#[derive(Clone)]
pub(crate) struct Stamps {
    states: Arc<States>,
    flow: usize,
}

impl std::fmt::Debug for Stamps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stamps").field(&self.flow).finish()
    }
}

impl Stamps {
    /// The stamps of a flow.
    pub(super) fn of(states: Arc<States>, flow: usize) -> Self {
        Self { states, flow }
    }

    fn state(&self) -> &Shared {
        self.states.get(self.flow)
    }

    /// A round's marks: only between them is anything counted.
    pub(crate) fn mark(&self, counted: bool) {
        let state = self.state();
        for direction in 0..2 {
            state.sent_ns[direction].store(0, Ordering::Relaxed);
            state.received_ns[direction].store(0, Ordering::Relaxed);
        }
        state.counted.store(u32::from(counted), Ordering::Release);
    }

    /// The traffic thread is about to send a message in this direction.
    #[inline]
    pub(crate) fn sending(&self, direction: Direction, now_ns: u64) {
        let state = self.state();
        state.sent_ns[way(direction)].store(now_ns, Ordering::Relaxed);
    }

    /// The traffic thread has received a message of this direction: the time since it was
    /// received on the endpoint's device (`socket_rx`), `None` where the probe saw none.
    #[inline]
    pub(crate) fn received(&self, direction: Direction, now_ns: u64) -> Option<u64> {
        let received = &self.state().received_ns[way(direction)];
        let received_ns = received.load(Ordering::Relaxed);
        if received_ns == 0 {
            return None;
        }
        received.store(0, Ordering::Relaxed);
        Some(now_ns.saturating_sub(received_ns))
    }
}

/// The index of a direction in shared memory.
pub(super) fn way(direction: Direction) -> usize {
    usize::from(direction == Direction::Response)
}
