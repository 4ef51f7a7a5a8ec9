//! Exact self time: the time between `net_dev_start_xmit` and `net_dev_xmit` of a device, less
//! what is nested in it, on a per-CPU stack.
//!
//! What the programs themselves take is part of it (some tens of ns at each end), but for tunnels:
//! the figure that people compare costs two more clock reads, so that only leaving one program and
//! entering the next are in it. How often that happened is counted (`seams`), what it takes is
//! measured apart (`seam.rs` of this package). A second agent's programs on this kernel would be
//! in it. A call in which the CPU was taken away counts with the mean of those before.
//!
//! Transmit functions run with bottom halves off, so that calls on one CPU nest strictly.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use nettoll_agent_common::hops::{
    FRAME_TUNNEL, Frame, INTERRUPTED_NS, INTERRUPTED_TIMES, Loss, NESTING, Nest, ProgramCode,
    SelfCell, UNFOLLOWED,
};

use crate::{
    kernel::Device,
    maps::{self, Here},
};

/// An index into the frames that the verifier believes. LLVM knows the value's range and would
/// delete the mask without the black box.
#[inline(always)]
fn frame(nest: &mut Nest, depth: u32) -> &mut Frame {
    &mut nest.frames[core::hint::black_box(depth) as usize & (NESTING - 1)]
}

/// A transmit function is called for a followed packet.
#[inline(always)]
pub(crate) fn enter(nest: &mut Nest, device_key: u64, now_ns: u64, key: u32, bytes: u32) {
    push(
        nest,
        Frame {
            device: device_key,
            start_ns: now_ns,
            key,
            bytes,
            ..Frame::default()
        },
    );
}

/// The time, where the innermost open call is a tunnel's; else 0.
#[inline(always)]
pub(crate) fn now_in_tunnel(nest: &mut Nest) -> u64 {
    if nest.depth == 0 || frame(nest, nest.depth - 1).key & FRAME_TUNNEL == 0 {
        return 0;
    }
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// A transmit function is called for another packet: of interest only inside a followed one's.
#[inline(always)]
pub(crate) fn enter_unfollowed(nest: &mut Nest, device: Device) {
    if nest.depth > 0 {
        // SAFETY: a helper without arguments.
        let start_ns = unsafe { bpf_ktime_get_ns() };
        let Some(config) = maps::CONFIG.get(0) else {
            return;
        };
        let device = device.key(config);
        push(
            nest,
            Frame {
                device,
                start_ns,
                key: UNFOLLOWED,
                ..Frame::default()
            },
        );
    }
}

#[inline(always)]
fn push(nest: &mut Nest, call: Frame) {
    if nest.depth >= NESTING as u32 {
        // Counted as lost when it returns.
        nest.overflow += 1;
        return;
    }
    let depth = nest.depth;
    *frame(nest, depth) = call;
    nest.depth += 1;
}

/// A transmit function returned.
#[inline(always)]
pub(crate) fn leave(device: Device, here: &mut Here) {
    let nest = &mut *here.nest;
    if nest.depth == 0 {
        return;
    }
    if nest.overflow > 0 {
        nest.overflow -= 1;
        here.lose(Loss::Nesting);
        return;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let depth = nest.depth - 1;
    let Frame {
        device: entered,
        start_ns,
        children_ns,
        key,
        bytes,
        children,
        ..
    } = *frame(nest, depth);
    let Some(config) = maps::CONFIG.get(0) else {
        return;
    };
    if entered != device.key(config) {
        // An end without its begin (the programs were attached inside a call).
        nest.depth = 0;
        here.lose(Loss::Nesting);
        return;
    }
    nest.depth = depth;
    let elapsed = now - start_ns;
    if key != UNFOLLOWED {
        here.matched(ProgramCode::Xmit);
        let call = SelfCell {
            key: key & !FRAME_TUNNEL,
            calls: 1,
            bytes: u64::from(bytes),
            self_ns: elapsed.saturating_sub(children_ns),
            // One before, between and after its children.
            seams: if key & FRAME_TUNNEL != 0 {
                u64::from(children) + 1
            } else {
                0
            },
            ..SelfCell::default()
        };
        add(call, here);
    }
    if depth > 0 {
        let caller = frame(here.nest, depth - 1);
        caller.children += 1;
        caller.children_ns += if caller.key & FRAME_TUNNEL != 0 {
            // A tunnel's self time begins again after all that this program has done.
            // SAFETY: a helper without arguments.
            let after = unsafe { bpf_ktime_get_ns() };
            after - start_ns
        } else {
            elapsed
        };
    }
}

/// The self time of a long call: what else ran in it is not the device's.
#[inline(always)]
fn uninterrupted(mean_ns: u64, self_ns: u64, here: &mut Here) -> u64 {
    if self_ns <= INTERRUPTED_TIMES * mean_ns {
        return self_ns;
    }
    here.lose(Loss::Interrupted);
    mean_ns
}

/// Adds one call to a device's self time.
#[inline(always)]
fn add(call: SelfCell, here: &mut Here) {
    let Some(cell) = maps::self_time(here, call.key) else {
        here.lose(Loss::EdgesFull);
        return;
    };
    let self_ns = if call.self_ns > INTERRUPTED_NS && cell.calls != 0 {
        uninterrupted(cell.self_ns / cell.calls, call.self_ns, here)
    } else {
        call.self_ns
    };
    cell.calls += call.calls;
    cell.bytes += call.bytes;
    cell.self_ns += self_ns;
    cell.seams += call.seams;
}
