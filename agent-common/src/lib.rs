//! Types on both sides of the eBPF boundary.
#![no_std]
