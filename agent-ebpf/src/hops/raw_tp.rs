//! The hop programs on raw tracepoints (`raw_tp`): the verifier takes each argument for a number, and
//! whatever is read through it goes by a helper, which takes longer than the loads of `tp_btf.rs`.
//! What the programs do is the same, in [`programs`].
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

use core::mem::MaybeUninit;

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel, macros::raw_tracepoint as tracepoint,
    programs::RawTracePointContext as Context,
};

/// A member of a structure, by the kernel's BTF of a type `T` at that offset.
#[inline(always)]
fn member<T: Copy>(base: *const u8, offset: &'static u32) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the helper writes as many bytes as a `T` has, or zeroes where the address cannot be
    // read; any bits are a value of the integers and pointers that are members. Volatile: the value
    // in the object file is not the real one.
    unsafe {
        let address = base.wrapping_add(core::ptr::read_volatile(offset) as usize);
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address.cast(),
        );
        value.assume_init()
    }
}

/// An address as a key, never 0.
#[inline(always)]
fn key<T>(pointer: *const u8, _base: &'static T) -> u64 {
    pointer as u64 | 1
}
