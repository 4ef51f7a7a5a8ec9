//! A machine under QEMU, from its kernel's first line to its last.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    exec,
    places::Places,
    vm::{
        guest::Contents,
        kernel::{Kernel, Suite},
        qemu::{Accel, Qemu},
        transcript::{Part, Transcript},
    },
};

/// MiB of memory: the file system is in it twice while it is unpacked.
const MEMORY: &str = "2048";
const CPUS: &str = "2";
/// The kernel's messages go to the first serial port; a panic ends the machine at once.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 rdinit=/init";

/// What became of a machine.
#[derive(Debug)]
pub(crate) struct Boot {
    /// Which suite's kernel.
    pub(crate) suite: Suite,
    /// `uname -r`.
    pub(crate) release: String,
    /// What ran inside.
    pub(crate) transcript: Transcript,
    /// What was wrong; `None` for nothing.
    pub(crate) fault: Option<String>,
    /// From the first instruction to the last; 0 for one of an earlier call.
    pub(crate) took: Duration,
    /// The kernel's messages.
    pub(crate) log: PathBuf,
}

/// The kernel's messages, and what ran, in the suite's folder.
const KERNEL_LOG: &str = "kernel.log";
const OUTPUT_LOG: &str = "output.log";

/// What became of the suite's last machine, by what it left.
pub(crate) fn last(suite: &Suite, places: &Places) -> Result<Boot> {
    let folder = places.vm().join(suite.to_string());
    let file = folder.join(OUTPUT_LOG);
    let text = fs::read_to_string(&file);
    let text = text.with_context(|| format!("no machine of {suite} has run: no {file:?}"))?;
    let mut transcript = Transcript::default();
    for line in text.lines() {
        transcript.take(line);
    }
    let release = transcript.of("release").map(Part::text);
    Ok(Boot {
        suite: suite.clone(),
        release: release.with_context(|| format!("the last machine of {suite} did not boot"))?,
        fault: transcript.fault(),
        transcript,
        took: Duration::ZERO,
        log: folder.join(KERNEL_LOG),
    })
}

/// What machines are made of, and how they run.
#[derive(Debug)]
pub(crate) struct Machines {
    /// What makes them.
    pub(crate) qemu: Qemu,
    /// How it does.
    pub(crate) accel: Accel,
    /// What is inside.
    pub(crate) contents: Contents,
    /// How long one may run.
    pub(crate) limit: Duration,
}

impl Machines {
    /// Boots a kernel, and hands each line that a program prints inside to `show`, with the program's
    /// name.
    ///
    /// # Errors
    /// Where the machine cannot be made. One that hangs or fails is a [`Boot::fault`].
    pub(crate) fn boot(
        &self,
        suite: &Suite,
        kernel: &Kernel,
        places: &Places,
        mut show: impl FnMut(&str, &str) + Send,
    ) -> Result<Boot> {
        let folder = places.vm().join(suite.to_string());
        let (archive, log) = (folder.join("initrd"), folder.join(KERNEL_LOG));
        write(&archive, &self.contents.archive(kernel)?)?;
        // QEMU appends nothing: a log of an earlier time goes.
        write(&log, &[])?;
        let lines = folder.join(OUTPUT_LOG);
        let mut output = File::create(&lines).with_context(|| format!("cannot make {lines:?}"))?;

        let begin = Instant::now();
        let mut transcript = Transcript::default();
        let mut qemu = self.command(&kernel.image, &archive, &log);
        let ended = exec::run_lines_within(&mut qemu, Some(self.limit), |line| {
            let line = line.trim_end_matches('\r');
            // The transcript is what counts; the file is for people.
            let _ = writeln!(output, "{line}");
            if transcript.take(line)
                && let Some(part) = transcript.parts.last()
            {
                show(&part.name, line);
            }
        });
        let ended = match ended {
            Ok(status) => exec::success(status, "QEMU").map_err(|error| error.to_string()),
            Err(error) if error.is::<crate::stop::Stop>() => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        let inside = transcript.fault();
        let fault = match (ended, inside) {
            (Ok(()), inside) => inside,
            (Err(outside), Some(inside)) => Some(format!("{outside}: {inside}")),
            (Err(outside), None) => Some(outside),
        };
        Ok(Boot {
            suite: suite.clone(),
            release: kernel.release.clone(),
            transcript,
            fault,
            took: begin.elapsed(),
            log,
        })
    }

    fn command(&self, image: &Path, archive: &Path, log: &Path) -> Command {
        let mut qemu = self.qemu.command(self.accel);
        qemu.args(["-smp", CPUS, "-m", MEMORY, "-nodefaults", "-no-user-config"])
            .args(["-display", "none", "-no-reboot", "-nic", "none"])
            .arg("-kernel")
            .arg(image)
            .arg("-initrd")
            .arg(archive)
            .args(["-append", COMMAND_LINE, "-serial"])
            .arg(format!("file:{}", log.display()))
            .args(["-serial", "stdio"]);
        qemu
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
