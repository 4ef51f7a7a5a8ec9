//! Counts the kernel's stacks, one sample at each tick of a perf event.
//!
//! User space opens one event a CPU and names the slot that samples go to; slot 0 is none. What
//! cannot be counted is counted as lost, by slot and reason.
//!
//! Stacks are kept in a hash map of our own rather than in the kernel's stack map: that one has
//! a single place for all stacks whose hashes end alike and turns away the second, which loses
//! deep and varied stacks first (`docs/profile.md` has figures).
#![no_std]
#![no_main]

use core::ptr;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::{bpf_get_current_comm, generated::bpf_get_stack},
    macros::{map, perf_event},
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap},
    programs::PerfEventContext,
};
use nettoll_agent_common::profile::{DEPTH, LOST_COUNTERS, Lost, SampleKey, StackFrames, USER};

/// Where samples go now.
#[map]
static SLOT: Array<u32> = Array::with_max_entries(1, 0);

/// The stacks by their hash. User space sets the size.
#[map]
static STACKS: HashMap<u64, StackFrames> = HashMap::with_max_entries(1, 0);

/// The counts. User space sets the size. Per CPU, so that no update can be lost to another CPU.
#[map]
static SAMPLES: PerCpuHashMap<SampleKey, u64> = PerCpuHashMap::with_max_entries(1, 0);

/// Samples without a usable stack, by [`Lost::index`].
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOST_COUNTERS, 0);

/// The stack under way: too large for the program's own.
#[map]
static FRAMES: PerCpuArray<StackFrames> = PerCpuArray::with_max_entries(1, 0);

const E2BIG: i64 = 7;
const EBUSY: i64 = 16;
const EEXIST: i64 = 17;

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
        keep_stack(ctx)?
    };
    let thread = bpf_get_current_comm().map_err(|_| Lost::Other)?;
    let key = SampleKey {
        stack,
        thread,
        slot,
        pad: 0,
    };
    if let Some(count) = SAMPLES.get_ptr_mut(&key) {
        // SAFETY: this CPU's own value; user space removes keys only while nothing is sampled.
        unsafe { *count += 1 };
        return Ok(());
    }
    // Should another CPU have inserted the key in between, this still writes only this CPU's
    // value, which was 0.
    SAMPLES
        .insert(&key, &1, BPF_ANY.into())
        .map_err(|errno| refused(errno, Lost::CountsFull))
}

/// The kernel's stack in [`STACKS`]; its hash.
#[inline(always)]
fn keep_stack(ctx: &PerfEventContext) -> Result<u64, Lost> {
    let frames = FRAMES.get_ptr_mut(0).ok_or(Lost::Other)?;
    const SIZE: u32 = size_of::<StackFrames>() as u32;
    // SAFETY: the helper writes at most `SIZE` bytes into this CPU's own buffer, and zeros what
    // it does not need. Flags 0: the kernel's stack, no frame skipped.
    let bytes = unsafe { bpf_get_stack(ctx.as_ptr(), frames.cast(), SIZE, 0) };
    if bytes <= 0 {
        return Err(Lost::Unwind);
    }
    // SAFETY: this CPU's own buffer; nothing writes it until the next tick.
    let frames = unsafe { &*frames };
    let hash = hash(frames);
    if STACKS.get_ptr(&hash).is_some() {
        return Ok(hash);
    }
    match STACKS.insert(&hash, frames, BPF_NOEXIST.into()) {
        Ok(()) => Ok(hash),
        // Another CPU was faster: with the same stack, since the hash is the same.
        Err(errno) if -i64::from(errno) == EEXIST => Ok(hash),
        Err(errno) => Err(refused(errno, Lost::StacksFull)),
    }
}

/// 64 bits over all frames, so that two of a run's stacks do not meet: with 16,384 stacks the
/// probability is below 10⁻¹¹. Multiply and rotate, as in FxHash, then the finaliser of
/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[inline(always)]
fn hash(frames: &StackFrames) -> u64 {
    let mut hash: u64 = 0;
    for index in 0..DEPTH {
        let frame = frames.0[index];
        if frame == 0 {
            break;
        }
        hash = (hash.rotate_left(5) ^ frame).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let hash = hash ^ (hash >> 31);
    if hash == USER { 1 } else { hash }
}

/// Why a map took no new key.
#[inline(always)]
fn refused(errno: i32, full: Lost) -> Lost {
    match -i64::from(errno) {
        E2BIG => full,
        EBUSY => Lost::Busy,
        _ => Lost::Other,
    }
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
    let cs = unsafe { ptr::read_volatile(&raw const (*ctx.ctx).regs.cs) };
    cs & RPL != 0
}

/// As above.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn in_user_mode(ctx: &PerfEventContext) -> bool {
    // `PSR_MODE_MASK`; exception level 0 is user space, also of 32 bits.
    const MODE: u64 = 0xf;
    // SAFETY: as above.
    let pstate = unsafe { ptr::read_volatile(&raw const (*ctx.ctx).regs.pstate) };
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
