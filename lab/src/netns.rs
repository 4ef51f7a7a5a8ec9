//! Named network namespaces: found, entered by a thread, entered by a program.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::{fs::MetadataExt, process::CommandExt},
    },
    panic,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

/// Where iproute2 binds the names.
const DIRECTORY: &str = "/run/netns";

/// A namespace that could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there.
    #[error("there is no network namespace {name}: is the lab up? ('nettoll lab up')")]
    Absent {
        /// Its name.
        name: String,
    },
    /// It is there, but.
    #[error("cannot enter the network namespace {name}: {source}")]
    Enter {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// No thread to enter it.
    #[error("cannot start a thread for the network namespace {name}: {source}")]
    Thread {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// Does `work` on a thread of its own inside a network namespace. Sockets and descriptors that
/// it returns stay in that namespace. A panic in `work` goes on in the caller.
///
/// # Errors
/// [`Error`], all before `work` begins.
pub fn within<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let file = open(name)?;
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name(name.chars().take(15).collect())
            .spawn_scoped(scope, || {
                setns(file.as_raw_fd()).map_err(|source| Error::Enter {
                    name: name.to_owned(),
                    source,
                })?;
                Ok(work())
            });
        match thread {
            Ok(thread) => thread
                .join()
                .unwrap_or_else(|cause| panic::resume_unwind(cause)),
            Err(source) => Err(Error::Thread {
                name: name.to_owned(),
                source,
            }),
        }
    })
}

/// Makes `command` enter a network namespace before its program begins. Unlike `ip netns exec`
/// this changes nothing else: the program sees the caller's files, /sys included.
pub(crate) fn enter_before_exec(command: &mut Command, name: &str) -> Result<(), Error> {
    let file = open(name)?;
    let enter = move || setns(file.as_raw_fd());
    #[expect(unsafe_code, reason = "a namespace is entered between fork and exec")]
    // SAFETY: the closure makes one system call on a descriptor that it owns, and allocates
    // nothing: all of it is allowed after a fork.
    unsafe {
        command.pre_exec(enter);
    }
    Ok(())
}

/// Moves the calling thread.
fn setns(descriptor: RawFd) -> io::Result<()> {
    #[expect(unsafe_code, reason = "the standard library has no setns")]
    // SAFETY: setns takes two integers, touches no memory of ours, and checks the descriptor.
    let status = unsafe { libc::setns(descriptor, libc::CLONE_NEWNET) };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn open(name: &str) -> Result<File, Error> {
    File::open(path(name)).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Absent {
            name: name.to_owned(),
        },
        _ => Error::Enter {
            name: name.to_owned(),
            source,
        },
    })
}

/// Whether the name is taken. It can be taken by a plain file, where its maker was killed.
#[must_use]
pub fn exists(name: &str) -> bool {
    path(name).exists()
}

/// The namespace's inode, `None` where there is none.
#[must_use]
pub fn inode(name: &str) -> Option<u64> {
    fs::metadata(path(name)).ok().map(|metadata| metadata.ino())
}

/// The inode of the network namespace of a process's main thread, `None` where the process has
/// gone or may not be looked at.
pub(crate) fn inode_of_process(process: &Path) -> Option<u64> {
    fs::metadata(process.join("ns/net"))
        .ok()
        .map(|metadata| metadata.ino())
}

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}
