//! Exact self time: the time between `net_dev_start_xmit` and `net_dev_xmit` of a device, less
//! what is nested in it, on a per-CPU stack.
//!
//! Transmit functions run with bottom halves off, so that calls on one CPU nest strictly.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use nettoll_agent_common::hops::{
    Counters, Frame, Loss, NESTING, Nest, ProgramCode, SelfCell, UNFOLLOWED,
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
                children_ns: 0,
                key,
                bytes,
            },
        );
    }
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
                children_ns: 0,
                key: UNFOLLOWED,
                bytes: 0,
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
    if depth > 0 {
        frame(nest, depth - 1).children_ns += elapsed;
    }
    if key == UNFOLLOWED {
        return;
    }
    counters.matched[ProgramCode::Xmit as usize] += 1;
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
            maps::lose(counters, Loss::EdgesFull);
        }
    }
}
