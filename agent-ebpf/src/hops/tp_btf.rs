//! The hop programs on tracepoints with BTF (`tp_btf`): the verifier knows the type of each
//! argument, and of whatever is read through it, and takes direct loads. What the programs do is in
//! [`programs`]; `raw_tp.rs` has them for kernels that refuse these.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod drops;
mod follow;
mod headers;
mod kernel;
mod maps;
mod nest;
mod programs;
mod ready;
mod trail;

use aya_ebpf::{macros::btf_tracepoint as tracepoint, programs::BtfTracePointContext as Context};

/// A member of a structure that the verifier knows the type of.
#[inline(always)]
fn member<T: Copy>(base: *const u8, offset: &'static u32) -> T {
    // SAFETY: `base` is a typed kernel pointer (a program's argument or read through one), and
    // the offset is that of a member of type `T`, from the kernel's BTF. The verifier checks
    // both, and a fault reads as 0. Volatile: the value in the object file is not the real one.
    unsafe {
        base.add(core::ptr::read_volatile(offset) as usize)
            .cast::<T>()
            .read_volatile()
    }
}

/// An address relative to `base`, never 0. The verifier forbids arithmetic on a kernel pointer,
/// but not the difference of two pointers, which is a plain number and as unique as the address.
#[inline(always)]
fn key<T>(pointer: *const u8, base: &'static T) -> u64 {
    (pointer as u64).wrapping_sub(core::ptr::from_ref(base) as u64) | 1
}
