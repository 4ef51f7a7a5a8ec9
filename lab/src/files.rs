//! Where the lab keeps its files, and how it writes them.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Everything of a running lab; readable by root alone, gone with the lab.
pub const DIRECTORY: &str = "/run/nettoll/lab";
/// Where the lab's controller listens.
pub const CONTROLLER_SOCKET: &str = "/run/nettoll/lab/controller.sock";
/// What lies around [`DIRECTORY`].
const PARENT: &str = "/run/nettoll";
/// Held while a lab is built or taken down; it stays, so that everyone locks the same file.
pub(crate) const LOCK: &str = "/run/nettoll/lab.lock";

/// A file that could not be read, written, made or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Error {
    pub(crate) fn new(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self {
            action,
            path: path.into(),
            source,
        }
    }
}

/// The path of a file of the lab.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Makes what lies around [`DIRECTORY`].
pub(crate) fn make_parent() -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o755);
    builder
        .create(PARENT)
        .map_err(|source| Error::new("make", PARENT, source))
}

/// Makes [`DIRECTORY`] afresh; it must not be there.
pub(crate) fn make_directory() -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
        .create(DIRECTORY)
        .map_err(|source| Error::new("make", DIRECTORY, source))
}

/// Removes [`DIRECTORY`], if it is there.
pub(crate) fn remove_directory() -> Result<(), Error> {
    match fs::remove_dir_all(DIRECTORY) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::new("remove", DIRECTORY, source))
        }
        _ => Ok(()),
    }
}

/// Writes a file of the lab, mode 0600, so that it is there in full or not at all.
pub(crate) fn write(name: &str, content: &str) -> Result<(), Error> {
    let (path, fresh) = (path(name), path(&format!(".{name}")));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&fresh)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .and_then(|()| fs::rename(&fresh, &path))
        .map_err(|source| Error::new("write", path, source))
}
