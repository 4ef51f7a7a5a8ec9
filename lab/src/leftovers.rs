//! Takes down whatever lab there is: whole, half-built, or left by a process that was killed.
//!
//! Leftovers are found twice: in `state.json`, and by the names of the network namespaces,
//! which are fixed. A process in one of these namespaces belongs to the lab, whoever started
//! it: an agent that was not yet written down, or a shell of `nettoll lab exec`.

use std::{collections::HashSet, fs, path::Path};

use crate::{
    Error, files,
    ip::{self, Tool},
    lock::Lock,
    netns, plan,
    process::{self, Identity},
    state::State,
};

/// Takes everything down. No lab is no error.
pub(crate) fn take_down(lock: &Lock) -> Result<(), Error> {
    // A state that cannot be read hides no more than a process that left its namespace.
    let recorded = State::read()
        .ok()
        .flatten()
        .map(|state| state.identities())
        .unwrap_or_default();
    let present: Vec<_> = plan::all_netns()
        .into_iter()
        .filter(|name| netns::exists(name))
        .collect();
    let processes: HashSet<_> = recorded.into_iter().chain(inhabitants(&present)).collect();
    process::end(&processes.into_iter().collect::<Vec<_>>())?;
    let lines: Vec<_> = present
        .iter()
        .map(|name| format!("netns delete {name}"))
        .collect();
    ip::batch(lock, Tool::Ip, None, &lines)?;
    files::remove_directory()?;
    Ok(())
}

/// The processes whose main thread is in one of the namespaces. A name that is bound to the
/// namespace of this process or of init is not the lab's doing: nobody there is touched.
fn inhabitants(names: &[String]) -> Vec<Identity> {
    let mut inodes: HashSet<_> = names.iter().filter_map(|name| netns::inode(name)).collect();
    for outside in ["/proc/self", "/proc/1"] {
        if let Some(inode) = netns::inode_of_process(Path::new(outside)) {
            inodes.remove(&inode);
        }
    }
    if inodes.is_empty() {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let inside = inodes.contains(&netns::inode_of_process(&entry.path())?);
            if inside { Identity::of(pid) } else { None }
        })
        .collect()
}
