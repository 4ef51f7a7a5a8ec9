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
    Counters, FRAME_TUNNEL, Frame, INTERRUPTED_NS, INTERRUPTED_TIMES, Loss, NESTING, Nest,
    ProgramCode, SelfCell, UNFOLLOWED,
};

use crate::{kernel::Device, maps};

/// An index into the frames that the verifier believes. LLVM knows the value's range and would
/// delete the mask without the black box.
#[inline(always)]
fn frame(nest: &mut Nest, depth: u32) -> &mut Frame {
    &mut nest.frames[core::hint::black_box(depth) as usize & (NESTING - 1)]
}

/// A transmit function is called for a followed packet.
#[inline(always)]
pub(crate) fn enter(device_key: u64, now_ns: u64, key: u32, bytes: u32) {
    if let Some(nest) = maps::nest() {
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
}

/// The time, where the innermost open call is a tunnel's; else 0.
#[inline(always)]
pub(crate) fn now_in_tunnel() -> u64 {
    let Some(nest) = maps::nest() else { return 0 };
    if nest.depth == 0 || frame(nest, nest.depth - 1).key & FRAME_TUNNEL == 0 {
        return 0;
    }
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// A transmit function is called for another packet: of interest only inside a followed one's.
#[inline(always)]
pub(crate) fn enter_unfollowed(device: Device) {
    if let Some(nest) = maps::nest()
        && nest.depth > 0
    {
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
pub(crate) fn leave(device: Device, counters: &mut Counters) {
    let Some(nest) = maps::nest() else { return };
    if nest.depth == 0 {
        return;
    }
    if nest.overflow > 0 {
        nest.overflow -= 1;
        maps::lose(counters, Loss::Nesting);
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
        maps::lose(counters, Loss::Nesting);
        return;
    }
    nest.depth = depth;
    let elapsed = now - start_ns;
    if key != UNFOLLOWED {
        counters.matched[ProgramCode::Xmit as usize] += 1;
        let call = SelfCell {
            calls: 1,
            bytes: u64::from(bytes),
            self_ns: elapsed.saturating_sub(children_ns),
            // One before, between and after its children.
            seams: if key & FRAME_TUNNEL != 0 {
                u64::from(children) + 1
            } else {
                0
            },
        };
        add(key & !FRAME_TUNNEL, call, counters);
    }
    if depth > 0 {
        let caller = frame(nest, depth - 1);
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
fn uninterrupted(mean_ns: u64, self_ns: u64, counters: &mut Counters) -> u64 {
    if self_ns <= INTERRUPTED_TIMES * mean_ns {
        return self_ns;
    }
    maps::lose(counters, Loss::Interrupted);
    mean_ns
}

/// Adds one call to a device's self time.
#[inline(always)]
fn add(key: u32, call: SelfCell, counters: &mut Counters) {
    if let Some(cell) = maps::SELF_TIMES.get_ptr_mut(key) {
        // SAFETY: per CPU, bottom halves are off.
        let cell = unsafe { &mut *cell };
        let self_ns = if call.self_ns > INTERRUPTED_NS && cell.calls != 0 {
            uninterrupted(cell.self_ns / cell.calls, call.self_ns, counters)
        } else {
            call.self_ns
        };
        cell.calls += call.calls;
        cell.bytes += call.bytes;
        cell.self_ns += self_ns;
        cell.seams += call.seams;
    } else if maps::SELF_TIMES.insert(key, call, 0).is_err() {
        maps::lose(counters, Loss::EdgesFull);
    }
}
