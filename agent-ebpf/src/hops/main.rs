//! The hop programs: one for each point of the kernel that packets pass.
//!
//! A packet of a followed flow is recognised once, where its way begins on this node: at
//! `net_dev_queue` on its endpoint's device, or at the first receive on the node's underlay
//! device (there by the headers inside VXLAN). From then on its `sk_buff` address is the key, in
//! a direct-mapped table, and each hop adds the time since the last one to the edge between the
//! two. A packet's way ends at the receive on its endpoint's device, or where it leaves on the
//! underlay device. From there to the other node's underlay device (`wire`, seen only where both
//! nodes share a kernel) it is followed by flow and sequence, so that a forwarder which makes
//! new packets does not break it.
//!
//! Every other packet leaves after one look at the device table and one at the packet table, but for
//! one that is dropped: of that the headers are looked at too.
#![no_std]
#![no_main]

mod drops;
mod follow;
mod headers;
mod kernel;
mod maps;
mod nest;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use nettoll_agent_common::hops::{EventCode, NO_REASON, ProgramCode};

use crate::{
    kernel::{Device, Skb},
    maps::Here,
};

/// The licence that the helpers ask for.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

macro_rules! hop {
    ($name:ident, $tracepoint:literal, $code:ident) => {
        #[btf_tracepoint(function = $tracepoint)]
        fn $name(ctx: BtfTracePointContext) {
            let Some(mut here) = Here::run(ProgramCode::$code) else {
                return;
            };
            let skb = Skb(ctx.arg(0));
            let _ = follow::hop(skb, skb.device(), EventCode::$code, 0, &mut here);
        }
    };
}

hop!(net_dev_queue, "net_dev_queue", Queue);
hop!(netif_rx, "netif_rx", NetifRx);
hop!(napi_gro_receive_entry, "napi_gro_receive_entry", GroReceive);
hop!(netif_receive_skb, "netif_receive_skb", Receive);

#[btf_tracepoint(function = "net_dev_start_xmit")]
fn net_dev_start_xmit(ctx: BtfTracePointContext) {
    let Some(mut here) = Here::run(ProgramCode::StartXmit) else {
        return;
    };
    let device = Device(ctx.arg(1));
    // Under a tunnel the call begins before all that this program does.
    let early_ns = nest::now_in_tunnel(here.nest);
    let skb = Skb(ctx.arg(0));
    if follow::hop(skb, device, EventCode::StartXmit, early_ns, &mut here).is_none() {
        nest::enter_unfollowed(here.nest, device);
    }
}

#[btf_tracepoint(function = "net_dev_xmit")]
fn net_dev_xmit(ctx: BtfTracePointContext) {
    // The packet may be gone: only its device is looked at.
    let Some(mut here) = Here::run(ProgramCode::Xmit) else {
        return;
    };
    nest::leave(Device(ctx.arg(2)), &mut here);
}

#[btf_tracepoint(function = "skb_copy_datagram_iovec")]
fn skb_copy_datagram_iovec(ctx: BtfTracePointContext) {
    let Some(mut here) = Here::run(ProgramCode::Copy) else {
        return;
    };
    let _ = follow::copied(Skb(ctx.arg(0)), &mut here);
}

#[btf_tracepoint(function = "consume_skb")]
fn consume_skb(ctx: BtfTracePointContext) {
    let Some(mut here) = Here::run(ProgramCode::Consume) else {
        return;
    };
    let _ = follow::consumed(Skb(ctx.arg(0)), &mut here);
}

#[btf_tracepoint(function = "kfree_skb")]
fn kfree_skb(ctx: BtfTracePointContext) {
    let Some(mut here) = Here::run(ProgramCode::Free) else {
        return;
    };
    let reason = if kernel::tells_reasons() {
        ctx.arg(2)
    } else {
        NO_REASON
    };
    let _ = drops::dropped(Skb(ctx.arg(0)), reason, &mut here);
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
