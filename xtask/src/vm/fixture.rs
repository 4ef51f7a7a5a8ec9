//! Small descriptions of kernels, for tests of the reader of such descriptions: cut from the
//! kernels' images, without booting them.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use nettoll_core::{
    btf::{Btf, cut::cut},
    kernel::{ENUMERATIONS, MEMBERS, TRACEPOINTS},
};

use crate::{places::Places, vm::kernel::Kernel};

/// In the workspace.
const FOLDER: &str = "core/src/kernel/fixtures";
/// Where an image tells what of it the kernel is (`Documentation/arch/x86/boot.rst`).
const SETUP_SECTORS: usize = 0x1F1;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24C;
const SECTOR: usize = 512;
/// The size of the whole kernel follows the compressed one.
const SIZE: usize = 4;

/// Writes the fixture of a kernel.
pub(crate) fn write(kernel: &Kernel, places: &Places) -> Result<()> {
    let elf = unpack(&kernel.image, &places.vm())?;
    let btf = Btf::parse(
        section(&elf, ".BTF")
            .context("the kernel has no BTF")?
            .to_vec(),
    )?;
    let members = MEMBERS.map(|member| (member.structure, member.member));
    let mut tracepoints = Vec::new();
    for tracepoint in TRACEPOINTS {
        // Some came with a later kernel.
        if btf.tracepoint(tracepoint.name)?.is_some() {
            tracepoints.push(tracepoint.name);
        }
    }
    let fixture = cut(&btf, &members, &tracepoints, &ENUMERATIONS)?;
    let version: Vec<_> = kernel.release.split('.').take(2).collect();
    let name = format!("linux-{}.btf", version.join("."));
    let file = places.root.join(FOLDER).join(name);
    fs::write(&file, &fixture).with_context(|| format!("cannot write {file:?}"))?;
    println!("{}: {} bytes", file.display(), fixture.len());
    Ok(())
}

/// The kernel as the linker made it, of an image as a boot loader takes it.
fn unpack(image: &Path, scratch: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(image).with_context(|| format!("cannot read {image:?}"))?;
    let payload = payload(&bytes).with_context(|| format!("{image:?} is no image of x86"))?;
    let tool = match payload {
        [0xFD, b'7', b'z', b'X', b'Z', ..] => "xz",
        [0x28, 0xB5, 0x2F, 0xFD, ..] => "zstd",
        [0x02, 0x21, 0x4C, 0x18, ..] => "lz4",
        _ => bail!("{image:?} is compressed in a way that is not known here"),
    };
    let packed = scratch.join("payload");
    fs::write(&packed, payload).with_context(|| format!("cannot write {packed:?}"))?;
    let mut command = Command::new(tool);
    command
        .arg("-dc")
        .stdin(File::open(&packed)?)
        .stdout(Stdio::piped());
    let output = command
        .output()
        .with_context(|| format!("cannot start {tool}: install it"))?;
    ensure!(
        output.status.success(),
        "{tool} cannot read the kernel in {image:?}"
    );
    fs::remove_file(&packed)?;
    Ok(output.stdout)
}

fn payload(image: &[u8]) -> Option<&[u8]> {
    let sectors = usize::from(*image.get(SETUP_SECTORS)?);
    let begin = (sectors + 1) * SECTOR + number(image, PAYLOAD_OFFSET, 4)?;
    let end = begin.checked_add(number(image, PAYLOAD_LENGTH, 4)?)?;
    image.get(begin..end.checked_sub(SIZE)?)
}

/// A section of a 64-bit ELF file.
fn section<'a>(elf: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let table = number(elf, 0x28, 8)?;
    let (size, count, names) = (
        number(elf, 0x3A, 2)?,
        number(elf, 0x3C, 2)?,
        number(elf, 0x3E, 2)?,
    );
    let header = |index: usize| elf.get(table + index * size..);
    let content = |header: &[u8]| {
        let (at, length) = (number(header, 0x18, 8)?, number(header, 0x20, 8)?);
        elf.get(at..at.checked_add(length)?)
    };
    let names = content(header(names)?)?;
    (0..count).filter_map(header).find_map(|header| {
        let text = names.get(number(header, 0, 4)?..)?;
        let found = text.strip_prefix(name.as_bytes())?.first() == Some(&0);
        found.then(|| content(header))?
    })
}

/// A number of up to eight bytes, little end first.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    let number = bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    usize::try_from(number).ok()
}
