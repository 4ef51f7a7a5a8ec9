//! The memory that a flow's traffic threads share with the probe: a mapped array, one cache
//! line a flow, written and read by plain atomic stores and loads, and the flow's [`Trails`].

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering},
};

use aya::Ebpf;
use nettoll_agent_common::hops::{FLOWS, FlowState, READY_BACKLOG, TrailHop};
use nettoll_core::{
    arrival::{Arrival, Ready},
    hop::Direction,
};

use super::{
    ProbeError,
    memory::Memory,
    trail::{Mark, Trails},
};

/// [`FlowState`] as seen from a thread: the same layout, in atomics.
#[repr(C, align(64))]
pub(super) struct Shared {
    pub(super) generation: AtomicU32,
    pub(super) counted: AtomicU8,
    pub(super) over_wire: AtomicU8,
    pub(super) trail: AtomicU8,
    _pad: u8,
    sent_ns: [AtomicU64; 2],
    received_ns: [AtomicU64; 2],
    ready_ns: [AtomicU64; 2],
    pub(super) origin: [AtomicU16; 2],
    pub(super) terminal: [AtomicU16; 2],
}

const _: () = assert!(size_of::<Shared>() == size_of::<FlowState>());

/// The mapped arrays.
pub(super) struct States {
    states: Memory<Shared>,
    pub(super) trails: Trails,
}

impl States {
    /// Maps them.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Arc<Self>, ProbeError> {
        Ok(Arc::new(Self {
            states: Memory::of(ebpf, "STATES", FLOWS)?,
            trails: Trails::of(ebpf)?,
        }))
    }

    /// The state of a flow.
    pub(super) fn get(&self, flow: usize) -> &Shared {
        #[expect(unsafe_code, reason = "memory shared with the kernel")]
        // SAFETY: it lives as long as `self`, was zeroed by the kernel, any bits are values of the
        // atomics, and nobody has it otherwise.
        unsafe {
            self.states.at(flow).as_ref()
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
            state.ready_ns[direction].store(0, Ordering::Relaxed);
        }
        state.counted.store(u8::from(counted), Ordering::Release);
    }

    /// From now on the flow's hops are kept one by one: it has one request outstanding.
    pub(crate) fn keep_hops(&self) {
        self.state().trail.store(1, Ordering::Relaxed);
    }

    /// Where the flow's hops are now, which is `now_ns`.
    #[inline]
    pub(crate) fn hops_mark(&self, now_ns: u64) -> Mark {
        self.states.trails.mark(self.flow, now_ns)
    }

    /// Puts the hops since a mark into `hops`; answers how many were passed and are not there.
    pub(crate) fn hops_since(&self, mark: Mark, hops: &mut Vec<TrailHop>) -> u64 {
        self.states.trails.since(self.flow, mark, hops)
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
        let arrival = self.arrived(direction)?;
        Some(now_ns.saturating_sub(arrival.received_ns))
    }

    /// The same, with what the probe saw of it; only where one message is outstanding.
    #[inline]
    pub(crate) fn arrived(&self, direction: Direction) -> Option<Arrival> {
        let state = self.state();
        let take = |stamp: &AtomicU64| {
            let ns = stamp.load(Ordering::Relaxed);
            if ns != 0 {
                stamp.store(0, Ordering::Relaxed);
            }
            ns
        };
        let received_ns = take(&state.received_ns[way(direction)]);
        let ready_ns = take(&state.ready_ns[way(direction)]);
        let ready = Ready {
            at_ns: ready_ns & !READY_BACKLOG,
            backlog: ready_ns & READY_BACKLOG != 0,
        };
        (received_ns != 0).then_some(Arrival {
            received_ns,
            ready: (ready_ns != 0).then_some(ready),
        })
    }
}

/// The index of a direction in shared memory.
pub(super) fn way(direction: Direction) -> usize {
    usize::from(direction == Direction::Response)
}
