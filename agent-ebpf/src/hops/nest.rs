//! Exact self time: the time between `net_dev_start_xmit` and `net_dev_xmit` of a device, less
//! what is nested in it, on a per-CPU stack.
//!
//! Transmit functions run with bottom halves off, so that calls on one CPU nest strictly.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use nettoll_agent_common::hops::{Frame, Loss, NESTING, Nest, ProgramCode, SelfCell, UNFOLLOWED};

use crate::{kernel::Device, maps};

/// An index into the frames that the verifier believes. LLVM knows the value's range and would
/// delete the mask without the black box.
#[inline(always)]
fn frame(nest: &mut Nest, depth: u32) -> &mut Frame {
    &mut nest.frames[core::hint::black_box(depth) as usize & (NESTING - 1)]
}

/// A transmit function is called for a followed packet.
#[inline(always)]
pub(crate) fn enter(device: Device, now_ns: u64, key: u32, bytes: u32) {
    let Some(nest) = maps::nest() else { return };
    if nest.depth >= NESTING as u32 {
        nest.overflow += 1;
        maps::count_loss(Loss::Nesting);
        return;
    }
    let depth = nest.depth;
    *frame(nest, depth) = Frame {
        device: device.address(),
        start_ns: now_ns,
        children_ns: 0,
        key,
        bytes,
    };
    nest.depth += 1;
}

/// A transmit function is called for another packet: of interest only inside a followed one's.
#[inline(always)]
pub(crate) fn enter_unfollowed(device: Device) {
    if maps::nest().is_some_and(|nest| nest.depth > 0) {
        // SAFETY: a helper without arguments.
        enter(device, unsafe { bpf_ktime_get_ns() }, UNFOLLOWED, 0);
    }
}

/// A transmit function returned.
#[inline(always)]
pub(crate) fn leave(device: Device) {
    let Some(nest) = maps::nest() else { return };
    if nest.depth == 0 {
        return;
    }
    if nest.overflow > 0 {
        nest.overflow -= 1;
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
    } = *frame(nest, depth);
    if entered != device.address() {
        // An end without its begin (the programs were attached inside a call).
        nest.depth = 0;
        maps::count_loss(Loss::Nesting);
        return;
    }
    nest.depth = depth;
    let elapsed = now - start_ns;
    if depth > 0 {
        frame(nest, depth - 1).children_ns += elapsed;
    }
    if key == UNFOLLOWED {
        return;
    }
    maps::count_match(ProgramCode::Xmit);
    let self_ns = elapsed.saturating_sub(children_ns);
    if let Some(cell) = maps::SELF_TIMES.get_ptr_mut(key) {
        // SAFETY: per CPU, bottom halves are off.
        let cell = unsafe { &mut *cell };
        cell.calls += 1;
        cell.bytes += u64::from(bytes);
        cell.self_ns += self_ns;
    } else {
        let first = SelfCell {
            calls: 1,
            bytes: u64::from(bytes),
            self_ns,
        };
        if maps::SELF_TIMES.insert(key, first, 0).is_err() {
            maps::count_loss(Loss::EdgesFull);
        }
    }
}
