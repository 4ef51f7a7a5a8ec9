//! Ends processes by a pidfd whose process is known to be the right one, so that a pid that the
//! kernel gave to somebody else is never signalled.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::{Duration, Instant},
};

use super::{Error, Identity};

/// Time between SIGTERM and SIGKILL, and then until the end is given up on.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ends processes: SIGTERM to all, SIGKILL to those that do not go. Who is gone already is no
/// error.
pub(crate) fn end(processes: &[Identity]) -> Result<(), Error> {
    let failed = |pid| move |source| Error::End { pid, source };
    let mut left = Vec::new();
    for identity in processes {
        if let Some(descriptor) = pidfd(*identity).map_err(failed(identity.pid))? {
            left.push((identity.pid, descriptor));
        }
    }
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        for (pid, descriptor) in &left {
            send(descriptor, signal).map_err(failed(*pid))?;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut alive = Vec::new();
        for (pid, descriptor) in left {
            if has_ended(&descriptor, deadline).map_err(failed(pid))? {
                reap(pid);
            } else {
                alive.push((pid, descriptor));
            }
        }
        left = alive;
    }
    match left.first() {
        Some((pid, _)) => Err(failed(*pid)(io::ErrorKind::TimedOut.into())),
        None => Ok(()),
    }
}

/// A descriptor of exactly this process; `None` where it has gone. The descriptor is taken
/// before the start time is compared: were it another process's, the times would differ.
fn pidfd(identity: Identity) -> io::Result<Option<OwnedFd>> {
    #[expect(
        unsafe_code,
        reason = "the C library of older systems has no pidfd_open"
    )]
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, identity.pid, 0) };
    let Ok(descriptor @ 0..) = i32::try_from(descriptor) else {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ESRCH) => Ok(None),
            _ => Err(error),
        };
    };
    #[expect(
        unsafe_code,
        reason = "a descriptor from a system call becomes an owned one"
    )]
    // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok((Identity::of(identity.pid) == Some(identity)).then_some(descriptor))
}

fn send(descriptor: &OwnedFd, signal: i32) -> io::Result<()> {
    let information = std::ptr::null::<libc::siginfo_t>();
    #[expect(
        unsafe_code,
        reason = "the C library of older systems has no pidfd_send_signal"
    )]
    // SAFETY: the descriptor is open, and a null siginfo is allowed (pidfd_send_signal(2)).
    let status = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            descriptor.as_raw_fd(),
            signal,
            information,
            0,
        )
    };
    let error = io::Error::last_os_error();
    if status == 0 || error.raw_os_error() == Some(libc::ESRCH) {
        Ok(())
    } else {
        Err(error)
    }
}

/// A pidfd becomes readable when its process ends.
fn has_ended(descriptor: &OwnedFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        let mut poll = libc::pollfd {
            fd: descriptor.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        #[expect(unsafe_code, reason = "the standard library has no poll")]
        // SAFETY: one valid pollfd, and its number is given.
        let ready = unsafe { libc::poll(&raw mut poll, 1, timeout) };
        match ready {
            0 => return Ok(false),
            1.. => return Ok(true),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Takes the exit status, if the process is a child of ours: nobody else would.
fn reap(pid: i32) {
    #[expect(
        unsafe_code,
        reason = "the child's handle went with the program that started it"
    )]
    // SAFETY: a null status is allowed; another's child gives ECHILD and nothing happens.
    unsafe {
        libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        path::Path,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    #[expect(clippy::zombie_processes, reason = "`end` waits")]
    fn a_process_ends_and_is_reaped() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(identity.is_running());
        end(&[identity]).unwrap();
        assert!(!identity.is_running());
        assert!(!Path::new(&format!("/proc/{}", identity.pid)).exists());
        end(&[identity]).unwrap();
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "`end` waits")]
    fn a_process_that_ignores_sigterm_is_killed() {
        let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut ready = [0];
        child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        end(&[identity]).unwrap();
        assert!(!identity.is_running());
    }

    #[test]
    fn a_recycled_pid_is_left_alone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        let earlier = Identity {
            start_ticks: identity.start_ticks - 1,
            ..identity
        };
        end(&[earlier]).unwrap();
        assert!(identity.is_running());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
