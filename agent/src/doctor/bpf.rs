//! The smallest eBPF programs that can be loaded and attached: they return 0 at once.
//!
//! By bpf(2) itself and not by aya, which loads from object files: whether a hook works must be
//! told also where the agent was built without its programs. Layouts and numbers are of
//! `linux/bpf.h`.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BPF_PROG_TYPE_TRACING: u32 = 26;
const BPF_TRACE_RAW_TP: u32 = 23;
const BPF_TRACE_FENTRY: u32 = 24;
const LICENSE: &CStr = c"GPL";

/// `r0 = 0; exit`, as `struct bpf_insn`.
const RETURN_0: [u64; 2] = [
    u64::from_ne_bytes([0xb7, 0, 0, 0, 0, 0, 0, 0]),
    u64::from_ne_bytes([0x95, 0, 0, 0, 0, 0, 0, 0]),
];

/// What a program is attached to, by its id in the kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `typedef btf_trace_NAME` of a tracepoint.
    Tracepoint(u32),
    /// A function's entry.
    Function(u32),
}

/// `union bpf_attr` of `BPF_PROG_LOAD`, up to the last member used.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// `union bpf_attr` of `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct Open {
    name: u64,
    prog_fd: u32,
    padding: u32,
}

/// Loads a program for a target.
pub(super) fn load(target: Target) -> io::Result<OwnedFd> {
    let (expected_attach_type, attach_btf_id) = match target {
        Target::Tracepoint(id) => (BPF_TRACE_RAW_TP, id),
        Target::Function(id) => (BPF_TRACE_FENTRY, id),
    };
    let mut prog_name = [0; 16];
    prog_name[..14].copy_from_slice(b"nettoll_doctor");
    bpf(
        BPF_PROG_LOAD,
        &Load {
            prog_type: BPF_PROG_TYPE_TRACING,
            insn_cnt: RETURN_0.len() as u32,
            insns: RETURN_0.as_ptr() as u64,
            license: LICENSE.as_ptr() as u64,
            prog_name,
            expected_attach_type,
            attach_btf_id,
            ..Load::default()
        },
    )
}

/// Attaches a program to its target until the descriptor is dropped.
pub(super) fn attach(program: &OwnedFd) -> io::Result<OwnedFd> {
    let prog_fd = program.as_raw_fd().cast_unsigned();
    // No name: the program's own target.
    bpf(
        BPF_RAW_TRACEPOINT_OPEN,
        &Open {
            name: 0,
            prog_fd,
            padding: 0,
        },
    )
}

/// Asks the kernel for a program or a link.
#[expect(unsafe_code, reason = "bpf(2) has no wrapper in libc")]
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: `attributes` is one of the two structures above, whose members lie as the kernel
    // has them and whose size is told. For these commands the kernel only reads it and what it
    // points to: static data.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(offset_of!(Load, prog_name), 48);
        assert_eq!(offset_of!(Load, expected_attach_type), 68);
        assert_eq!(offset_of!(Load, func_info), 80);
        assert_eq!(offset_of!(Load, line_info), 96);
        assert_eq!(offset_of!(Load, attach_btf_id), 108);
        assert_eq!(size_of::<Load>(), 112);
        assert_eq!(size_of::<Open>(), 16);
    }

    #[test]
    fn no_target_is_an_error_and_no_panic() {
        assert!(load(Target::Tracepoint(u32::MAX)).is_err());
        assert!(load(Target::Function(u32::MAX)).is_err());
    }
}
