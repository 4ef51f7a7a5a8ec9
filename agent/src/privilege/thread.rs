//! The calling thread's capabilities, by the kernel's own calls. They change nothing but the
//! thread that calls.

use std::io;

/// `CAP_SYSLOG`'s bit, of `linux/capability.h`.
const SYSLOG: u32 = 34;
/// More than any kernel knows.
const BITS: u32 = 64;
/// `_LINUX_CAPABILITY_VERSION_3`: sets are of two words.
const VERSION: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    /// 0: the calling thread.
    thread: libc::c_int,
}

/// `struct __user_cap_data_struct`: one word of each set.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Word {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// From now on neither the calling thread nor one that it starts gains a privilege by a program
/// that it executes.
pub(crate) fn forbid_gains() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map(drop)
}

/// Gives up all capabilities of the calling thread, for ever.
pub(crate) fn drop_all() -> io::Result<()> {
    keep(0)
}

/// Gives up `CAP_SYSLOG`.
pub(crate) fn drop_syslog() -> io::Result<()> {
    keep(!(1 << SYSLOG))
}

/// Gives up all capabilities but these, a bit each.
fn keep(kept: u64) -> io::Result<()> {
    // First the bounding set, for that takes a capability.
    for bit in (0..BITS).filter(|bit| kept >> bit & 1 == 0) {
        match prctl(libc::PR_CAPBSET_READ, bit) {
            Ok(1) => {}
            Ok(_) => continue,
            // The kernel knows no more.
            Err(_) => break,
        }
        match prctl(libc::PR_CAPBSET_DROP, bit) {
            // Without CAP_SETPCAP it stays: nothing is gained from it without a set-user-ID
            // program, and those gain nothing.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => break,
            dropped => dropped?,
        };
    }
    let mut words = get()?;
    for (word, kept) in words.iter_mut().zip([kept as u32, (kept >> 32) as u32]) {
        word.effective &= kept;
        word.permitted &= kept;
        // The kernel takes them out of the ambient set then.
        word.inheritable &= kept;
    }
    set(&words)
}

#[expect(
    unsafe_code,
    reason = "capget has no safe wrapper among our dependencies"
)]
fn get() -> io::Result<[Word; 2]> {
    let mut header = Header::OWN;
    let mut words = [Word::default(); 2];
    // SAFETY: both are of the kernel's layout, and this version has two words.
    done(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) })?;
    Ok(words)
}

#[expect(
    unsafe_code,
    reason = "capset has no safe wrapper among our dependencies"
)]
fn set(words: &[Word; 2]) -> io::Result<()> {
    let mut header = Header::OWN;
    // SAFETY: both are of the kernel's layout, and this version has two words, which are only
    // read.
    done(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) }).map(drop)
}

impl Header {
    const OWN: Self = Self {
        version: VERSION,
        thread: 0,
    };
}

#[expect(
    unsafe_code,
    reason = "prctl has no safe wrapper among our dependencies"
)]
fn prctl(option: libc::c_int, value: u32) -> io::Result<libc::c_long> {
    let (value, zero) = (libc::c_ulong::from(value), 0 as libc::c_ulong);
    // SAFETY: these options take numbers alone and change nothing but the calling thread.
    done(unsafe { libc::prctl(option, value, zero, zero, zero) }.into())
}

fn done(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
