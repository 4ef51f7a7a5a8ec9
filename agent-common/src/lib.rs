//! Types on both sides of the eBPF boundary.
//!
//! `no_std`, no logic beyond the meaning of a type's own bits. All types are `repr(C)`, without
//! padding, so that every byte of a map's value is defined; sizes are asserted here.
#![no_std]

pub mod hops;
pub mod profile;
