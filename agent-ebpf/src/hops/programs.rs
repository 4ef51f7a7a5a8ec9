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
//!
//! A hook has its role on this way. Where one is missing, another one has a program in store that
//! takes the role over; a kernel that has all never calls these.

use nettoll_agent_common::hops::{EventCode, NO_REASON, ProgramCode};

use crate::{
    Context, drops, follow,
    follow::Role,
    kernel::{self, Device, Skb, Sock},
    maps::Here,
    nest, ready, tracepoint,
};

/// The licence that the helpers ask for.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

macro_rules! hop {
    ($name:ident, $code:ident, $role:expr) => {
        #[tracepoint]
        fn $name(ctx: Context) {
            let Some(mut here) = Here::run(ProgramCode::$code) else {
                return;
            };
            let skb = Skb(ctx.arg(0));
            let _ = follow::hop(skb, skb.device(), EventCode::$code, $role, 0, &mut here);
        }
    };
}

hop!(net_dev_queue, Queue, Role::BEGINS);
hop!(netif_rx, NetifRx, Role::PASSES);
hop!(napi_gro_receive_entry, GroReceive, Role::PASSES);
hop!(netif_receive_skb, Receive, Role::ENDS);

// Without `net_dev_start_xmit`, and without `netif_receive_skb`.
hop!(net_dev_queue_leaves, Queue, Role::BEGINS_AND_LEAVES);
hop!(netif_rx_ends, NetifRx, Role::ENDS);
hop!(napi_gro_receive_entry_ends, GroReceive, Role::ENDS);

macro_rules! start_xmit {
    ($name:ident, $role:expr) => {
        #[tracepoint]
        fn $name(ctx: Context) {
            let Some(mut here) = Here::run(ProgramCode::StartXmit) else {
                return;
            };
            let device = Device(ctx.arg(1));
            // Under a tunnel the call begins before all that this program does.
            let early_ns = nest::now_in_tunnel(here.nest);
            let skb = Skb(ctx.arg(0));
            let event = EventCode::StartXmit;
            if follow::hop(skb, device, event, $role, early_ns, &mut here).is_none() {
                nest::enter_unfollowed(here.nest, device);
            }
        }
    };
}

start_xmit!(net_dev_start_xmit, Role::LEAVES);
// Without `net_dev_queue`.
start_xmit!(net_dev_start_xmit_begins, Role::BEGINS_AND_LEAVES);

#[tracepoint]
fn net_dev_xmit(ctx: Context) {
    // The packet may be gone: only its device is looked at.
    let Some(mut here) = Here::run(ProgramCode::Xmit) else {
        return;
    };
    nest::leave(Device(ctx.arg(2)), &mut here);
}

#[tracepoint]
fn skb_copy_datagram_iovec(ctx: Context) {
    let Some(mut here) = Here::run(ProgramCode::Copy) else {
        return;
    };
    let _ = follow::copied(Skb(ctx.arg(0)), &mut here);
}

#[tracepoint]
fn sk_data_ready(ctx: Context) {
    let Some(mut here) = Here::run(ProgramCode::Ready) else {
        return;
    };
    let _ = ready::ready(Sock(ctx.arg(0)), &mut here);
}

#[tracepoint]
fn consume_skb(ctx: Context) {
    let Some(mut here) = Here::run(ProgramCode::Consume) else {
        return;
    };
    let _ = follow::consumed(Skb(ctx.arg(0)), &mut here);
}

#[tracepoint]
fn kfree_skb(ctx: Context) {
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
