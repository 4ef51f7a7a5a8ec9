//! Counts the kernel's stacks, one sample at each tick of a perf event.
//!
//! User space opens one event a CPU and names the slot that samples go to; slot 0 is none. What
//! cannot be counted is counted as lost, by slot and reason.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::bpf_get_current_comm,
    macros::{map, perf_event},
    maps::{Array, PerCpuArray, PerCpuHashMap, StackTrace},
    programs::{PerfEventContext, tracing::StackIdContext as _},
};
use nettoll_agent_common::profile::{LOST_COUNTERS, Lost, SampleKey, USER};

/// Where samples go now.
#[map]
static SLOT: Array<u32> = Array::with_max_entries(1, 0);

/// Stack ids and their addresses. User space sets the size.
///
/// A place in it is chosen by a few bits of the stack's hash. Without `BPF_F_REUSE_STACKID` the
/// first stack keeps its place until user space removes it, so that an id means one stack for as
/// long as a count refers to it; a second one is lost as [`Lost::Collision`]. With that flag the
/// second would take the place, and the counts of the first would become its own, silently.
#[map]
static STACKS: StackTrace = StackTrace::with_max_entries(1, 0);

/// The counts. User space sets the size. Per CPU, so that no update can be lost to another CPU.
#[map]
static SAMPLES: PerCpuHashMap<SampleKey, u64> = PerCpuHashMap::with_max_entries(1, 0);

/// Samples without a usable stack, by [`Lost::index`].
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOST_COUNTERS, 0);

const ENOMEM: i32 = 12;
const E2BIG: i32 = 7;
const EFAULT: i32 = 14;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;

/// One tick. Its result, 0, tells the kernel that nobody wants the event itself.
#[perf_event]
pub fn sample(ctx: PerfEventContext) -> u32 {
    let slot = SLOT.get(0).copied().unwrap_or(0);
    if slot != 0
        && let Err(reason) = count(&ctx, slot)
        && let Some(lost) = LOST.get_ptr_mut(reason.index(slot))
    {
        // SAFETY: this CPU's own counter, which nothing else on this CPU writes meanwhile.
        unsafe { *lost += 1 };
    }
    0
}

#[inline(always)]
fn count(ctx: &PerfEventContext, slot: u32) -> Result<(), Lost> {
    let stack = if in_user_mode(ctx) {
        USER
    } else {
        ctx.get_stackid(&STACKS, 0).map_err(|errno| match -errno {
            EEXIST => Lost::Collision,
            ENOMEM => Lost::StacksFull,
            EFAULT => Lost::Unwind,
            _ => Lost::Other,
        })? as u32
    };
    let thread = bpf_get_current_comm().map_err(|_| Lost::Other)?;
    let key = SampleKey { slot, stack, thread };
    if let Some(count) = SAMPLES.get_ptr_mut(&key) {
        // SAFETY: this CPU's own value; user space removes keys only while nothing is sampled.
        unsafe { *count += 1 };
        return Ok(());
    }
    // Should another CPU have inserted the key in between, this still writes only this CPU's
    // value, which was 0.
    SAMPLES.insert(&key, &1, BPF_ANY.into()).map_err(|errno| match -errno {
        E2BIG => Lost::CountsFull,
        EBUSY => Lost::Busy,
        _ => Lost::Other,
    })
}

/// Whether the sample hit user space, by the registers: an error of the stack helper would not
/// tell that from a stack that the kernel could not unwind.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn in_user_mode(ctx: &PerfEventContext) -> bool {
    // The requested privilege level in the code segment's selector.
    const RPL: u64 = 3;
    // SAFETY: the context of a perf event program; the verifier asks for loads of whole
    // registers, hence volatile.
    let cs = unsafe { core::ptr::read_volatile(&raw const (*ctx.ctx).regs.cs) };
    cs & RPL != 0
}

/// As above.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn in_user_mode(ctx: &PerfEventContext) -> bool {
    // `PSR_MODE_MASK`; exception level 0 is user space, also of 32 bits.
    const MODE: u64 = 0xf;
    // SAFETY: as above.
    let pstate = unsafe { core::ptr::read_volatile(&raw const (*ctx.ctx).regs.pstate) };
    pstate & MODE == 0
}

// SAFETY: the kernel reads it as text; it has the form that the kernel asks for.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
