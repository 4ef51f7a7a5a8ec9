//! Tar archives of plain files, in the format that POSIX calls ustar.

use anyhow::{Result, ensure};

/// Everything in an archive is a multiple of this.
const BLOCK: usize = 512;
/// Of a file's name: longer ones would need a second field.
const MAX_NAME: usize = 100;

/// An archive of these files: name, permissions, content. All belong to root and are as old as
/// the epoch, so that the same files make the same archive.
pub(super) fn archive<'a>(
    files: impl IntoIterator<Item = (&'a str, u32, &'a [u8])>,
) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    for (name, mode, content) in files {
        archive.extend(header(name, mode, content.len())?);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    Ok(archive)
}

fn header(name: &str, mode: u32, size: usize) -> Result<[u8; BLOCK]> {
    ensure!(name.len() <= MAX_NAME, "{name}: too long for an archive");
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    // The sum is taken with spaces in its own place.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn the_systems_tar_reads_it() {
        let large = vec![b'x'; 3 * BLOCK + 1];
        let files: [(&str, u32, &[u8]); 3] = [
            ("blobs/sha256/a", 0o644, b"one\n"),
            ("run", 0o755, &large),
            ("empty", 0o644, b""),
        ];
        let folder = std::env::temp_dir().join(format!("nettoll-tar-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("x.tar"), archive(files).unwrap()).unwrap();
        let output = Command::new("tar")
            .current_dir(&folder)
            .args(["-xvf", "x.tar"])
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        assert_eq!(output.stdout, b"blobs/sha256/a\nrun\nempty\n");
        for (name, _, content) in files {
            assert_eq!(fs::read(folder.join(name)).unwrap(), content, "{name}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn long_names_are_refused() {
        assert!(archive([("x".repeat(101).as_str(), 0o644, b"".as_slice())]).is_err());
    }
}
