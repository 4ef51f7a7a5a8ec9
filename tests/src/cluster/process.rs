//! A pod's processes as the machine sees them: the kit's nodes share its kernel.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::threads::Thread;

/// The first process of a pod's container.
#[derive(Debug)]
pub struct Process {
    folder: PathBuf,
    /// Told apart from a later process of the same number by when it started.
    start: String,
}

impl Process {
    /// The process of a pod whose program is called so.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of(uid: &str, program: &str) -> Result<Self> {
        let pod = format!("/pod{uid}/");
        let all = fs::read_dir("/proc")?.filter_map(|entry| Some(entry.ok()?.path()));
        all.filter(|folder| {
            let is = |file: &str, test: &dyn Fn(&str) -> bool| {
                fs::read_to_string(folder.join(file)).is_ok_and(|text| test(text.trim()))
            };
            is("cgroup", &|text| text.contains(&pod)) && is("comm", &|text| text == program)
        })
        .find_map(|folder| {
            let start = start(&folder).ok()?;
            Some(Self { folder, start })
        })
        .with_context(|| format!("the pod {uid} has no process {program}"))
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn lives(&self) -> bool {
        start(&self.folder).is_ok_and(|start| start == self.start)
    }

    /// The fields of its status.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn status(&self) -> Result<BTreeMap<String, String>> {
        let text = fs::read_to_string(self.folder.join("status"))?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect())
    }

    /// Its threads.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn threads(&self) -> Result<Vec<Thread>> {
        Thread::all(&self.folder)
    }

    /// The inode of its network namespace.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn netns(&self) -> Result<u64> {
        Ok(fs::metadata(self.folder.join("ns/net"))?.ino())
    }

    /// A file as the process sees it.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.join("root").join(path.trim_start_matches('/'))
    }

    /// What the kernel tells of its network: a file of /proc/PID/net.
    #[must_use]
    pub fn net(&self, file: &str) -> PathBuf {
        self.folder.join("net").join(file)
    }

    /// Whether it cannot write into its root.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn root_is_read_only(&self) -> Result<bool> {
        let mounts = fs::read_to_string(self.folder.join("mountinfo"))?;
        let mut fields = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let root = fields.find(|fields| fields.get(4) == Some(&"/"));
        let options = root.and_then(|fields| fields.get(5).map(|text| (*text).to_owned()));
        let options = options.context("no root")?;
        Ok(options.split(',').any(|option| option == "ro"))
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> Option<i32> {
        self.folder.file_name()?.to_str()?.parse().ok()
    }
}

/// When a process started, in ticks. A zombie has ended.
fn start(folder: &Path) -> io::Result<String> {
    let stat = fs::read_to_string(folder.join("stat"))?;
    // The name is in brackets and may hold anything.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let mut fields = rest.split(' ');
    match (fields.next(), fields.nth(18)) {
        (Some(state), Some(start)) if state != "Z" => Ok(start.to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}
