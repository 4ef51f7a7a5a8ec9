//! Ctrl-C and its kin: noted, not died of, so that whoever runs can clean up.

use std::{
    io,
    os::unix::process::{CommandExt as _, parent_id},
    process::{self, Command},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From here on SIGINT, SIGTERM and SIGHUP only set a mark. Children start with the default.
pub(crate) fn install() -> Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        set_handler(signal).context("cannot install a signal handler")?;
    }
    Ok(())
}

/// One of the signals has come.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

#[expect(unsafe_code, reason = "std has no signal handlers")]
fn set_handler(signal: libc::c_int) -> io::Result<()> {
    let handler: extern "C" fn(libc::c_int) = note;
    // SAFETY: a zeroed sigaction is valid (no flags, empty mask); the handler has the signature
    // that goes without SA_SIGINFO and only stores to an atomic, which is async-signal-safe.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has a program end with the thread that starts it, where that is killed and can end nothing itself.
#[expect(unsafe_code, reason = "std cannot ask the kernel for it")]
pub(crate) fn end_with_parent(command: &mut Command) {
    let parent = process::id();
    let ask = move || {
        // SAFETY: prctl takes plain numbers here.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } != 0 {
            return Err(io::Error::last_os_error());
        }
        if parent_id() == parent {
            Ok(())
        } else {
            // It was killed before.
            Err(io::ErrorKind::Interrupted.into())
        }
    };
    // SAFETY: between fork and exec there are two system calls, and no memory is allocated.
    unsafe { command.pre_exec(ask) };
}

/// Sends a signal to a child's process group. The child must lead its group and must not have
/// been waited for, so that the number is still its own.
#[expect(unsafe_code, reason = "std can only kill, and only one process")]
pub(crate) fn send_to_group(leader: u32, signal: libc::c_int) {
    let Ok(group) = libc::pid_t::try_from(leader) else {
        return;
    };
    // SAFETY: kill takes plain numbers; a group that has just ended gives ESRCH, which is fine.
    unsafe { libc::kill(-group, signal) };
}
