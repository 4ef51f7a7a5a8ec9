//! Ground truth for the tests: a classifier that holds the CPU for a set time, by the kernel's
//! clock, and logs how long it really did. It adds exactly that to the stage in which the kernel asks
//! it: at a pod's egress to `socket_tx`, at the ingress of a bridge's port to `bridge`. It can also drop
//! packets, and logs how many, and send a clone of each one ahead of it into the CPU's backlog.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::{BPF_F_INGRESS, TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::bpf_ktime_get_ns,
    macros::{classifier, map},
    maps::Array,
    programs::TcContext,
};

/// The licence, as in the other objects.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// How long to spin for each packet, in ns; 0 for not at all.
#[map]
static SPIN_NS: Array<u64> = Array::with_max_entries(1, 0);
/// Packets that it spun for, and how long in all, in ns.
#[map]
static SPUN: Array<[u64; 2]> = Array::with_max_entries(1, 0);
/// Each of so many packets is dropped, 0 for none; packets seen meanwhile.
#[map]
static DROP_EVERY: Array<[u64; 2]> = Array::with_max_entries(1, 0);
/// Index of the device that a clone of each packet is received on, 0 for none.
#[map]
static CLONE_TO: Array<u32> = Array::with_max_entries(1, 0);

/// Some 35 ns each: 140 µs at most.
const MAX_LOOKS: u32 = 4_000;

#[classifier]
fn spin(packet: TcContext) -> i32 {
    let _ = send_clone(&packet);
    let _ = hold();
    if drops() == Some(true) {
        TC_ACT_SHOT
    } else {
        TC_ACT_UNSPEC
    }
}

#[inline(always)]
fn send_clone(packet: &TcContext) -> Option<()> {
    let device = *CLONE_TO.get(0)?;
    if device == 0 {
        return None;
    }
    packet.clone_redirect(device, BPF_F_INGRESS.into()).ok()
}

#[inline(always)]
fn drops() -> Option<bool> {
    // SAFETY: as below.
    let [every, seen] = unsafe { &mut *DROP_EVERY.get_ptr_mut(0)? };
    if *every == 0 {
        return None;
    }
    *seen += 1;
    Some(*seen % *every == 0)
}

#[inline(always)]
fn hold() -> Option<()> {
    let wanted = *SPIN_NS.get(0)?;
    if wanted == 0 {
        return None;
    }
    // SAFETY: a helper without arguments.
    let start = unsafe { bpf_ktime_get_ns() };
    let mut now = start;
    let mut looks = 0;
    while looks < MAX_LOOKS && now - start < wanted {
        // SAFETY: a helper without arguments.
        now = unsafe { bpf_ktime_get_ns() };
        looks += 1;
    }
    // SAFETY: one flow's packets leave one after the other; nobody else writes.
    let spun = unsafe { &mut *SPUN.get_ptr_mut(0)? };
    spun[0] += 1;
    spun[1] += now - start;
    Some(())
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
