//! Two programs on one tracepoint, called one after the other with nothing between: the first
//! looks at the clock last thing, the second first thing, as the hop programs around a tunnel's
//! work do (`hops/nest.rs`). What lies between is in each of those self times, and no work of the
//! tunnel. There are two for each way to attach them.
#![no_std]
#![no_main]

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, map, raw_tracepoint},
    maps::PerCpuArray,
    programs::{BtfTracePointContext, RawTracePointContext},
};
use nettoll_agent_common::hops::SeamTime;

/// The licence that the helper asks for.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Whatever takes longer had an interrupt in it, or a virtual CPU that waited for a real one.
const INTERRUPTED_NS: u64 = 2_000;

#[map]
static SEAM: PerCpuArray<SeamTime> = PerCpuArray::with_max_entries(1, 0);
/// The hop programs count their runs before anything else, and so does the one that stands for
/// them.
#[map]
static RUNS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's element.
#[inline(always)]
fn element<T>(map: &'static PerCpuArray<T>) -> Option<&'static mut T> {
    // SAFETY: per CPU, and transmit calls run with bottom halves off; the values are plain
    // integers.
    map.get_ptr_mut(0).map(|value| unsafe { &mut *value })
}

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

#[btf_tracepoint]
fn seam_leave(_: BtfTracePointContext) {
    leave();
}

#[btf_tracepoint]
fn seam_enter(_: BtfTracePointContext) {
    enter();
}

#[raw_tracepoint]
fn raw_seam_leave(_: RawTracePointContext) {
    leave();
}

#[raw_tracepoint]
fn raw_seam_enter(_: RawTracePointContext) {
    enter();
}

/// Of the program that is attached, and so called, before the other one.
#[inline(always)]
fn leave() {
    if let Some(seam) = element(&SEAM) {
        seam.left_ns = now_ns();
    }
}

#[inline(always)]
fn enter() {
    if let Some(runs) = element(&RUNS) {
        *runs += 1;
    }
    let Some(seam) = element(&SEAM) else { return };
    if seam.left_ns != 0 {
        let elapsed = now_ns() - seam.left_ns;
        seam.left_ns = 0;
        if elapsed < INTERRUPTED_NS {
            seam.sum_ns += elapsed;
            seam.count += 1;
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
