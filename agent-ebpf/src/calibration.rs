//! What the hop programs are compared with.
//!
//! Programs that do nothing, on the same tracepoints as the hop programs: what the kernel's own
//! statistics read for them is the price of being called.
//!
//! And two programs on one tracepoint, called one after the other with nothing between: the first
//! looks at the clock last thing, the second first thing, as the hop programs around a tunnel's
//! work do. The time between is what lies at the edges of that work without being part of it.
#![no_std]
#![no_main]

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use nettoll_agent_common::hops::EdgeTime;

/// The licence, as in the other objects.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

macro_rules! empty {
    ($($name:ident: $tracepoint:literal),* $(,)?) => {
        $(
            #[btf_tracepoint(function = $tracepoint)]
            fn $name(_: BtfTracePointContext) {}
        )*
    };
}

empty! {
    net_dev_queue: "net_dev_queue",
    net_dev_start_xmit: "net_dev_start_xmit",
    net_dev_xmit: "net_dev_xmit",
    netif_rx: "netif_rx",
    napi_gro_receive_entry: "napi_gro_receive_entry",
    netif_receive_skb: "netif_receive_skb",
}

/// Whatever takes longer had an interrupt in it, or a virtual CPU that waited for a real one.
const INTERRUPTED_NS: u64 = 2_000;

#[map]
static EDGE: PerCpuArray<EdgeTime> = PerCpuArray::with_max_entries(1, 0);
/// The hop programs count their runs before anything else.
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

/// Attached before [`edge_enter`], and so called before it.
#[btf_tracepoint(function = "net_dev_xmit")]
fn edge_leave(_: BtfTracePointContext) {
    if let Some(edge) = element(&EDGE) {
        edge.left_ns = now_ns();
    }
}

#[btf_tracepoint(function = "net_dev_xmit")]
fn edge_enter(_: BtfTracePointContext) {
    if let Some(runs) = element(&RUNS) {
        *runs += 1;
    }
    let Some(edge) = element(&EDGE) else { return };
    if edge.left_ns != 0 {
        let elapsed = now_ns() - edge.left_ns;
        edge.left_ns = 0;
        if elapsed < INTERRUPTED_NS {
            edge.sum_ns += elapsed;
            edge.count += 1;
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
