//! An archive of files as the kernel unpacks it at boot: cpio in the format `newc`
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

/// Names and contents begin at multiples of this.
const ALIGN: usize = 4;
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;

/// An archive that grows. All files belong to root and are as old as the epoch, so that the same
/// files make the same archive.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// Adds a directory and those above it. `path` is absolute.
    pub(crate) fn directory(&mut self, path: &str) -> Result<()> {
        let path = path.trim_matches('/');
        if path.is_empty() || self.directories.contains(path) {
            return Ok(());
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above)?;
        }
        self.directories.insert(path.to_owned());
        self.entry(path, DIRECTORY, &[])
    }

    /// Adds a file and the directories above it. `path` is absolute.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let path = path.trim_start_matches('/');
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above)?;
        }
        self.entry(path, FILE | mode, content)
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len()).with_context(|| format!("{name} is too large"))?;
        let name_size = u32::try_from(name.len() + 1).context("a name is too long")?;
        self.entries += 1;
        // Inode, mode, user, group, links, time, size, device twice, the node's twice, name, sum.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_directories_come_once_and_first() {
        let mut archive = Archive::default();
        archive.file("/a/b/one", 0o755, b"12345").unwrap();
        archive.file("/a/b/two", 0o644, b"").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % ALIGN, 0);
        let mut at = 0;
        let mut found = Vec::new();
        while at < bytes.len() {
            let field = |index: usize| {
                let text = &bytes[at + 6 + 8 * index..at + 14 + 8 * index];
                usize::from_str_radix(std::str::from_utf8(text).unwrap(), 16).unwrap()
            };
            assert_eq!(&bytes[at..at + 6], b"070701");
            let (mode, size, name) = (field(1), field(6), field(11));
            let text = std::str::from_utf8(&bytes[at + 110..at + 109 + name]).unwrap();
            found.push((text.to_owned(), mode, size));
            at = (at + 110 + name).next_multiple_of(ALIGN) + size;
            at = at.next_multiple_of(ALIGN);
        }
        let expected = [
            ("a", 0o040_755, 0),
            ("a/b", 0o040_755, 0),
            ("a/b/one", 0o100_755, 5),
            ("a/b/two", 0o100_644, 0),
            ("TRAILER!!!", 0, 0),
        ];
        assert_eq!(
            found,
            expected.map(|(name, mode, size)| (name.to_owned(), mode, size))
        );
    }
}
