//! Programs that do nothing, on the same tracepoints as the hop programs: what the kernel's own
//! statistics read for them is the price of being called, which the calibration takes off.
#![no_std]
#![no_main]

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

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

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
