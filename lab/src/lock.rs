//! One lab at a time: a lock that the kernel drops when its owner dies.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    thread,
    time::{Duration, Instant},
};

use crate::{Error as LabError, files};

const RETRY: Duration = Duration::from_millis(50);

/// No lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has it.
    #[error(
        "another process builds, uses or takes down the lab (it holds {}); try again when it is done",
        files::LOCK
    )]
    Busy,
}

/// Held as long as this lives, and as long as a program lives that has it as an output.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// For programs whose work must be over before somebody else gets the lock, even where
    /// this process is killed.
    pub(crate) fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Waits for the lock, but not longer than `wait`; `go_on` is asked meanwhile.
pub(crate) fn acquire(
    wait: Duration,
    go_on: impl Fn() -> Result<(), LabError>,
) -> Result<Lock, LabError> {
    files::make_parent()?;
    let failed = |action| move |source| files::Error::new(action, files::LOCK, source);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(files::LOCK).map_err(failed("open"))?;
    let deadline = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { file }),
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source).into()),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(Error::Busy.into());
            }
            Err(TryLockError::WouldBlock) => thread::sleep(RETRY),
        }
        go_on()?;
    }
}
