//! The hops of single requests: the programs append them to a ring of their flow, traffic threads
//! read it between marks of their own, without a system call.

use std::sync::atomic::{
    AtomicU16, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed},
};

use aya::Ebpf;
use nettoll_agent_common::hops::{FLOWS, TRAIL_HOPS, Trail, TrailHop};

use super::{ProbeError, memory::Memory};

/// [`TrailHop`] as seen from a thread: the same layout, in atomics.
#[repr(C)]
struct SharedHop {
    at_ns: AtomicU64,
    sequence: AtomicU32,
    hop: AtomicU16,
    direction: AtomicU16,
}

/// [`Trail`] likewise.
#[repr(C, align(64))]
struct Shared {
    passed: AtomicU64,
    _fill: [u64; 7],
    hops: [SharedHop; TRAIL_HOPS],
}

const _: () = {
    assert!(size_of::<SharedHop>() == size_of::<TrailHop>());
    assert!(size_of::<Shared>() == size_of::<Trail>());
};

/// A moment on a flow's trail.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    passed: u64,
    at_ns: u64,
}

/// The mapped array.
pub(super) struct Trails(Memory<Shared>);

impl Trails {
    /// Maps the `TRAILS` array.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        Ok(Self(Memory::of(ebpf, "TRAILS", FLOWS)?))
    }

    fn get(&self, flow: usize) -> &Shared {
        #[expect(unsafe_code, reason = "memory shared with the kernel")]
        // SAFETY: it lives as long as `self`, was zeroed by the kernel, any bits are values of the
        // atomics, and nobody has it otherwise.
        unsafe {
            self.0.at(flow).as_ref()
        }
    }

    /// Forgets a flow's hops, of which nothing may be kept any more.
    pub(super) fn clear(&self, flow: usize) {
        self.get(flow).passed.store(0, Relaxed);
    }

    /// Where a flow's trail is now, which is `at_ns`.
    #[inline]
    pub(super) fn mark(&self, flow: usize, at_ns: u64) -> Mark {
        let passed = self.get(flow).passed.load(Acquire);
        Mark { passed, at_ns }
    }

    /// Puts the hops since a mark into `hops`, in their order, in place of what was there; answers
    /// how many were passed and are not there.
    pub(super) fn since(&self, flow: usize, mark: Mark, hops: &mut Vec<TrailHop>) -> u64 {
        const ROOM: u64 = TRAIL_HOPS as u64;
        let trail = self.get(flow);
        let until = trail.passed.load(Acquire);
        let first = mark.passed.max(until.saturating_sub(ROOM));
        hops.clear();
        for place in first..until {
            let hop = &trail.hops[(place % ROOM) as usize];
            hops.push(TrailHop {
                at_ns: hop.at_ns.load(Relaxed),
                sequence: hop.sequence.load(Relaxed),
                hop: hop.hop.load(Relaxed),
                direction: hop.direction.load(Relaxed),
            });
        }
        // What was overwritten meanwhile may be of two hops.
        let safe = trail.passed.load(Acquire).saturating_sub(ROOM).max(first);
        hops.drain(..((safe - first) as usize).min(hops.len()));
        // Where two took one place, the next one still has what was there before.
        hops.retain(|hop| hop.at_ns >= mark.at_ns);
        until.saturating_sub(mark.passed) - hops.len() as u64
    }
}
