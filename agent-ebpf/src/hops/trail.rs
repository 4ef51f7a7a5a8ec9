//! The hops of single requests, for flows that have one outstanding.

use core::arch::asm;

use nettoll_agent_common::hops::{FlowState, PacketSlot, TRAIL_HOPS, TrailHop};

use crate::maps;

/// A packet passed a hop: it is kept, where the flow's are and there is payload.
#[inline(always)]
pub(crate) fn append(packet: &PacketSlot, state: &FlowState, hop: u16, at_ns: u64) {
    if state.trail == 0 || packet.bytes == 0 {
        return;
    }
    let Some(trail) = maps::trail(u32::from(packet.flow)) else {
        return;
    };
    // The black box keeps the mask, which the verifier wants.
    let place = core::hint::black_box(trail.passed) as usize & (TRAIL_HOPS - 1);
    trail.hops[place] = TrailHop {
        at_ns,
        sequence: packet.sequence,
        hop,
        direction: packet.direction,
    };
    // Atomic, so that none is lost to another CPU's: whoever reads the ring counts by it what is not
    // there. `core` has no such addition for this target.
    // SAFETY: an aligned member of a map's value.
    unsafe {
        asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) &raw mut trail.passed, in(reg) 1_u64);
    }
}
