//! Programs that do nothing, on the same tracepoints as the hop programs: what the kernel's own
//! statistics read for them is the price of being called, which the calibration takes off. There
//! is one for each way to attach them.
#![no_std]
#![no_main]

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};

/// The licence, as in the other objects.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

macro_rules! empty {
    ($($name:ident $raw:ident),* $(,)?) => {
        $(
            #[btf_tracepoint]
            fn $name(_: BtfTracePointContext) {}

            #[raw_tracepoint]
            fn $raw(_: RawTracePointContext) {}
        )*
    };
}

empty! {
    net_dev_queue raw_net_dev_queue,
    net_dev_start_xmit raw_net_dev_start_xmit,
    net_dev_xmit raw_net_dev_xmit,
    netif_rx raw_netif_rx,
    napi_gro_receive_entry raw_napi_gro_receive_entry,
    netif_receive_skb raw_netif_receive_skb,
    sk_data_ready raw_sk_data_ready,
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
