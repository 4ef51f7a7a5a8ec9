//! Network namespaces: finding one by its name or inode, and running code inside it.
//!
//! A thread has exactly one network namespace, and a socket keeps the one of the thread that
//! made it. So nothing here changes the calling thread: [`Netns::on_thread`] starts a fresh one,
//! moves that, and lets it end. Once inside the thread needs no capability and has none: most of
//! them read what the network brings.

mod cgroup;

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{Builder, JoinHandle},
};

use crate::privilege;

/// Where `ip netns add` keeps its namespaces.
const NAMED: &str = "/run/netns";
/// Of the main thread, whatever other threads do.
const OWN: &str = "/proc/self/ns/net";
/// Most entries of one folder that a search looks at.
const SEARCH_LIMIT: usize = 65_536;

/// A network namespace; it lives at least as long as this value.
#[derive(Clone, Debug)]
pub(crate) struct Netns {
    file: Arc<File>,
    inode: u32,
    path: Arc<Path>,
}

/// Opens the namespace `name` under `/run/netns`.
pub(crate) fn open(name: &str) -> io::Result<Netns> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        let text = format!("'{name}' is no name of a network namespace under {NAMED}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Netns::at(&Path::new(NAMED).join(name))
}

impl Netns {
    /// The agent's own: that of its main thread.
    pub(crate) fn own() -> io::Result<Self> {
        Self::at(Path::new(OWN))
    }

    /// The namespace with this inode: the agent's own, a named one, or that of any process.
    pub(crate) fn by_inode(inode: u32) -> io::Result<Self> {
        let own = std::iter::once(PathBuf::from(OWN));
        let named = entries(NAMED);
        let processes = processes().map(|path| path.join("ns/net"));
        own.chain(named)
            .chain(processes)
            // Cheaper than opening each one; `at` asks again, of the opened file.
            .filter(|path| fs::metadata(path).is_ok_and(|meta| meta.ino() == u64::from(inode)))
            .filter_map(|path| Self::at(&path).ok())
            .find(|netns| netns.inode == inode)
            .ok_or_else(|| {
                let text = format!(
                    "no network namespace with inode {inode} in {NAMED} or of any process that \
                     this agent can see; is its pod gone, or does the agent lack hostPID?"
                );
                io::Error::new(io::ErrorKind::NotFound, text)
            })
    }

    /// The namespace of the pod with this UID, by the cgroups of its containers' processes.
    pub(crate) fn of_pod(uid: &str) -> io::Result<Self> {
        let belongs = |process: &Path| {
            fs::read_to_string(process.join("cgroup"))
                .is_ok_and(|text| cgroup::is_container_of(&text, uid))
        };
        processes()
            .filter(|process| belongs(process))
            .filter_map(|process| Some((Self::at(&process.join("ns/net")).ok()?, process)))
            // Its number may be another process's by the time that it is opened.
            .find(|(_, process)| belongs(process))
            .map(|(netns, _)| netns)
            .ok_or_else(|| {
                let text = format!(
                    "no process of a pod with UID {uid} on this node; is the pod gone, or does \
                     the agent lack hostPID?"
                );
                io::Error::new(io::ErrorKind::NotFound, text)
            })
    }

    fn at(path: &Path) -> io::Result<Self> {
        let explain = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("network namespace {}: {error}", path.display()),
            )
        };
        let file = File::open(path).map_err(explain)?;
        let inode = file.metadata().map_err(explain)?.ino();
        let inode = u32::try_from(inode).map_err(|_| {
            // Inodes of namespaces are 32 bits wide (`struct ns_common` of the kernel).
            explain(io::Error::new(
                io::ErrorKind::InvalidData,
                "this is no network namespace",
            ))
        })?;
        Ok(Self {
            file: Arc::new(file),
            inode,
            path: path.into(),
        })
    }

    /// Whether it is still found where it was: else its pod or process is gone, although this
    /// value keeps the namespace alive.
    pub(crate) fn is_there(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| meta.ino() == u64::from(self.inode))
    }

    /// The root of the file system of the process by which it was found, the agent's own for a
    /// named one.
    pub(crate) fn root(&self) -> PathBuf {
        let process = self
            .path
            .ends_with("ns/net")
            .then(|| self.path.ancestors().nth(2));
        process
            .flatten()
            .map_or_else(|| "/".into(), |process| process.join("root"))
    }

    /// Its inode, as `stat -L /proc/PID/ns/net` shows it.
    pub(crate) fn inode(&self) -> u32 {
        self.inode
    }

    /// Runs `f` on a fresh thread inside this namespace, without capabilities. Returns once the
    /// thread is inside.
    ///
    /// # Errors
    /// The thread could not be started, or the namespace not be entered.
    pub(crate) fn on_thread<T: Send + 'static>(
        &self,
        thread_name: &str,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Inside<T>> {
        let netns = self.clone();
        let (tell, told) = mpsc::sync_channel(1);
        let thread = Builder::new().name(thread_name.to_owned()).spawn(move || {
            let entered = netns.enter().and_then(|()| privilege::drop_all());
            let inside = entered.is_ok();
            // Nobody listens only if the caller's thread is gone.
            let heard = tell.send(entered).is_ok();
            (inside && heard).then(f)
        })?;
        told.recv()
            .map_err(|_| io::Error::other("the thread ended before it began"))??;
        Ok(Inside(thread))
    }

    /// Moves the calling thread into this namespace.
    #[expect(
        unsafe_code,
        reason = "setns has no safe wrapper among our dependencies"
    )]
    fn enter(&self) -> io::Result<()> {
        // An agent without privileges can still test from its own namespace.
        if fs::metadata("/proc/thread-self/ns/net")?.ino() == u64::from(self.inode) {
            return Ok(());
        }
        // SAFETY: setns only reads the descriptor, which `self.file` keeps open, and changes
        // nothing but the calling thread, which runs nothing else.
        let failed = unsafe { libc::setns(self.file.as_raw_fd(), libc::CLONE_NEWNET) } != 0;
        if failed {
            let error = io::Error::last_os_error();
            let text = format!(
                "cannot enter network namespace {}: {error}; the agent needs CAP_SYS_ADMIN for it",
                self.path.display()
            );
            return Err(io::Error::new(error.kind(), text));
        }
        Ok(())
    }
}

/// A thread inside a namespace.
#[derive(Debug)]
pub(crate) struct Inside<T>(JoinHandle<Option<T>>);

impl<T> Inside<T> {
    /// Waits for the thread's end.
    ///
    /// # Errors
    /// It panicked.
    pub(crate) fn join(self) -> io::Result<T> {
        let name = self.0.thread().name().unwrap_or_default().to_owned();
        let ended = self.0.join();
        ended
            .ok()
            .flatten()
            .ok_or_else(|| io::Error::other(format!("thread {name} panicked")))
    }
}

/// The folders of all processes that can be seen.
fn processes() -> impl Iterator<Item = PathBuf> {
    entries("/proc").filter(|path| {
        path.file_name()
            .is_some_and(|n| n.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    })
}

/// The paths in a folder, at most [`SEARCH_LIMIT`] of them; none if it cannot be read.
fn entries(folder: &str) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .take(SEARCH_LIMIT)
        .map(|e| e.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["", ".", "..", "../etc/passwd", "a/b"] {
            assert_eq!(
                open(name).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{name}"
            );
        }
    }

    #[test]
    fn the_own_namespace_is_found_by_its_inode() {
        let own = Netns::own().unwrap();
        assert_eq!(Netns::by_inode(own.inode()).unwrap().inode(), own.inode());
        assert!(own.is_there());
        assert_eq!(
            Netns::by_inode(1).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn the_own_namespace_needs_no_privilege() {
        let thread = Netns::own()
            .unwrap()
            .on_thread("in-there", || {
                std::thread::current().name().map(str::to_owned)
            })
            .unwrap();
        assert_eq!(thread.join().unwrap().as_deref(), Some("in-there"));
    }

    #[test]
    fn what_is_no_namespace_cannot_be_entered() {
        let file = Netns::at(Path::new("/proc/self/status")).unwrap();
        let error = file.on_thread("nowhere", || ()).unwrap_err().to_string();
        assert!(error.contains("CAP_SYS_ADMIN"), "{error}");
    }
}
