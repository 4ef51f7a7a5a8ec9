//! Waiting for sockets until a moment, with the kernel's finest timer.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use crate::traffic::now_ns;

/// What is waited for of one socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want(libc::pollfd);

impl Want {
    /// Something to read.
    pub(super) fn read(of: &impl AsRawFd) -> Self {
        Self::of(of.as_raw_fd(), libc::POLLIN)
    }

    /// Room to write.
    pub(super) fn write(of: &impl AsRawFd) -> Self {
        Self::of(of.as_raw_fd(), libc::POLLOUT)
    }

    /// Either.
    pub(super) fn both(of: &impl AsRawFd) -> Self {
        Self::of(of.as_raw_fd(), libc::POLLIN | libc::POLLOUT)
    }

    /// Nothing: the kernel passes it over.
    pub(super) fn nothing() -> Self {
        Self::of(-1, 0)
    }

    fn of(fd: RawFd, events: libc::c_short) -> Self {
        Self(libc::pollfd {
            fd,
            events,
            revents: 0,
        })
    }
}

/// What is waited for.
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<libc::pollfd>);

impl Waiting {
    /// Waits for one of these, at most until that moment. It may return early.
    #[expect(
        unsafe_code,
        reason = "ppoll has no safe wrapper among our dependencies"
    )]
    pub(super) fn wait(
        &mut self,
        wants: impl Iterator<Item = Want>,
        until_ns: Option<u64>,
    ) -> io::Result<()> {
        self.0.clear();
        self.0.extend(wants.map(|want| want.0));
        let left = until_ns.map(|until_ns| until_ns.saturating_sub(now_ns()));
        let time = left.map(|ns| libc::timespec {
            tv_sec: (ns / 1_000_000_000) as _,
            tv_nsec: (ns % 1_000_000_000) as libc::c_long,
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the array holds as many entries as is said, and the time is null or a timespec
        // that outlives the call.
        let ready = unsafe {
            libc::ppoll(
                self.0.as_mut_ptr(),
                self.0.len() as libc::nfds_t,
                time,
                std::ptr::null(),
            )
        };
        if ready >= 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        }
    }

    /// Whether there is what was waited for, or an error to take.
    pub(super) fn is_ready(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|fd| fd.revents != 0)
    }
}
