//! What a process holds, as the kernel shows it.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result};
use aya::maps::{MapData, MapType};

/// Numbers of what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Open descriptors, those of the following among them.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// BPF programs.
    pub programs: usize,
    /// Where they are attached.
    pub links: usize,
    /// BPF maps.
    pub maps: usize,
    /// Entries of those maps that grow.
    pub entries: usize,
}

impl Held {
    /// What the process with this number holds.
    ///
    /// # Errors
    /// Where it has ended, or the kernel does not show it.
    pub fn by(pid: u32) -> Result<Self> {
        let [mut programs, mut links, mut maps] = [const { BTreeSet::new() }; 3];
        let mut descriptors = 0;
        for descriptor in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            descriptors += 1;
            // One that was closed meanwhile has nothing to tell.
            let text = fs::read_to_string(descriptor?.path()).unwrap_or_default();
            // A link tells of its program too.
            if let Some(id) = number(&text, "link_id:") {
                links.insert(id);
            } else if let Some(id) = number(&text, "prog_id:") {
                programs.insert(id);
            } else if let Some(id) = number(&text, "map_id:") {
                maps.insert(id);
            }
        }
        let mut entries = 0;
        for id in &maps {
            entries += entries_of(*id).with_context(|| format!("map {id}"))?;
        }
        Ok(Self {
            descriptors,
            threads: fs::read_dir(format!("/proc/{pid}/task"))?.count(),
            programs: programs.len(),
            links: links.len(),
            maps: maps.len(),
            entries,
        })
    }

    /// It is nowhere more than that.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.descriptors <= other.descriptors
            && self.threads <= other.threads
            && self.programs <= other.programs
            && self.links <= other.links
            && self.maps <= other.maps
            && self.entries <= other.entries
    }
}

/// How much of a process's memory is resident, in KiB.
///
/// # Errors
/// Where it has ended.
pub fn resident_kib(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    number(&status, "VmRSS:").context("no resident memory")
}

/// The number in the line that begins with a word.
fn number(text: &str, word: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many entries a map has, 0 for an array, which always has all.
fn entries_of(id: u32) -> Result<usize> {
    let map = MapData::from_id(id)?;
    let info = map.info()?;
    if !matches!(info.map_type()?, MapType::Hash | MapType::PerCpuHash) {
        return Ok(0);
    }
    let (mut key, mut next) = (None, vec![0; info.key_size() as usize]);
    let mut entries = 0;
    while next_key(&map, key.as_deref(), &mut next)? {
        entries += 1;
        key = Some(next.clone());
    }
    Ok(entries)
}

/// `BPF_MAP_GET_NEXT_KEY` of bpf(2).
#[repr(C)]
struct NextKey {
    map_fd: u64,
    key: *const u8,
    next_key: *mut u8,
}

/// Reads the key after another one, or the first. False: there are no more.
#[expect(unsafe_code, reason = "aya reads keys of types that it knows")]
fn next_key(map: &MapData, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
    const GET_NEXT_KEY: libc::c_int = 4;
    let arguments = NextKey {
        map_fd: map.fd().as_fd().as_raw_fd() as u64,
        key: key.map_or(std::ptr::null(), <[u8]>::as_ptr),
        next_key: next.as_mut_ptr(),
    };
    // SAFETY: both keys are as long as the map's own, and the arguments as the call wants them.
    let status = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            GET_NEXT_KEY,
            &raw const arguments,
            size_of::<NextKey>(),
        )
    };
    let error = io::Error::last_os_error();
    match error.kind() {
        _ if status == 0 => Ok(true),
        io::ErrorKind::NotFound => Ok(false),
        _ => Err(error),
    }
}
