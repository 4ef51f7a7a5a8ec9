//! The ticks of the sampler: one perf event on each CPU.
//!
//! The events stay open between rounds, disabled: the kernel then has no timer for them, so
//! nothing ticks, and each keeps its place in the period (see [`Events::stagger`]). Switching
//! them takes as long as aya takes to open and close events of its own, which all begin at once
//! and do not tell for how long they were enabled: the time that says how many ticks were due.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _},
    time::{Duration, Instant},
};

use super::ProfileError;

/// What makes an event tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The hardware's cycles: a tick after so many cycles of a CPU that is not halted.
    Cycles {
        /// As measured on this machine under load.
        per_second: u64,
    },
    /// A timer of the kernel, which ticks in idle, too.
    CpuClock,
}

impl Source {
    /// The best that this machine has. A virtual machine may offer a counter that stands still,
    /// so cycles are believed only if they were seen to count.
    pub(super) fn of_this_machine() -> Self {
        match measure_cycles() {
            Ok(per_second) if per_second > 0 => Self::Cycles { per_second },
            _ => Self::CpuClock,
        }
    }

    /// The name in results.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Cycles { .. } => "cycles",
            Self::CpuClock => "cpu-clock",
        }
    }

    /// The kernel's type and event, `linux/perf_event.h`.
    fn event(self) -> (u32, u64) {
        match self {
            Self::Cycles { .. } => (0, 0), // PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES
            Self::CpuClock => (1, 0),      // PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK
        }
    }

    /// Counts between two ticks: ns of the clock, or cycles. A fixed period rather than a
    /// frequency that the kernel steers by: each sample then stands for the same amount.
    fn period(self, hz: u32) -> u64 {
        let per_second = match self {
            Self::Cycles { per_second } => per_second,
            Self::CpuClock => 1_000_000_000,
        };
        per_second / u64::from(hz)
    }
}

/// The open events of all CPUs, enabled or not together.
#[derive(Debug)]
pub(super) struct Events {
    source: Source,
    hz: u32,
    cpus: Vec<u32>,
    files: Vec<File>,
}

impl Events {
    /// Opens an event on each of `cpus` that runs `program` `hz` times a second; disabled.
    pub(super) fn open(
        source: Source,
        hz: u32,
        cpus: Vec<u32>,
        program: BorrowedFd<'_>,
    ) -> Result<Self, ProfileError> {
        let (kind, config) = source.event();
        let attributes = Attributes::new(kind, config, source.period(hz).max(1));
        let files = cpus
            .iter()
            .map(|&cpu| {
                open(&attributes, Target::Cpu(cpu)).and_then(|file| {
                    control(&file, SET_BPF, program.as_raw_fd())?;
                    Ok(file)
                })
            })
            .collect::<io::Result<_>>()
            .map_err(ProfileError::Event)?;
        let events = Self {
            source,
            hz,
            cpus,
            files,
        };
        events.stagger()?;
        Ok(events)
    }

    /// Spreads the CPUs' ticks over one period. Disabled events keep what is left of theirs, so
    /// that rounds change nothing in it.
    ///
    /// Were all to tick at once, a CPU whose tick interrupts the holder of a lock would make
    /// another one wait for that lock at the very moment of its own tick: on two CPUs of a busy
    /// stream, 1 to 6 % of all samples were in the slow path of spin locks instead of 0.5 %.
    fn stagger(&self) -> Result<(), ProfileError> {
        let pause = Duration::from_secs(1) / self.hz / self.cpus().max(1);
        for file in &self.files {
            control(file, ENABLE, 0).map_err(ProfileError::Event)?;
            let started = Instant::now();
            while started.elapsed() < pause {
                std::hint::spin_loop();
            }
        }
        self.disable()
    }

    /// Whether these events are the ones that are asked for.
    pub(super) fn fit(&self, hz: u32, cpus: &[u32]) -> bool {
        self.hz == hz && self.cpus == cpus
    }

    /// How many CPUs tick.
    pub(super) fn cpus(&self) -> u32 {
        u32::try_from(self.files.len()).unwrap_or(u32::MAX)
    }

    /// Starts the ticks.
    pub(super) fn enable(&self) -> Result<(), ProfileError> {
        self.files
            .iter()
            .try_for_each(|file| control(file, ENABLE, 0))
            .map_err(ProfileError::Event)
    }

    /// Ends the ticks. When it returns, no CPU is in the program any more.
    pub(super) fn disable(&self) -> Result<(), ProfileError> {
        self.files
            .iter()
            .map(|file| control(file, DISABLE, 0))
            .fold(Ok(()), Result::and)
            .map_err(ProfileError::Event)
    }

    /// Ticks that there should have been since the events were opened, all CPUs together.
    /// `None` for cycles, which do not pass while a CPU is halted.
    pub(super) fn due(&self) -> Result<Option<u64>, ProfileError> {
        if self.source != Source::CpuClock {
            return Ok(None);
        }
        let period = self.source.period(self.hz).max(1);
        self.files.iter().try_fold(Some(0), |sum, file| {
            let Reading { enabled_ns, .. } = Reading::of(file).map_err(ProfileError::Event)?;
            Ok(sum.map(|sum| sum + enabled_ns / period))
        })
    }
}

/// Cycles a second of a busy CPU, by counting those of this thread for a while.
fn measure_cycles() -> io::Result<u64> {
    const WHILE: Duration = Duration::from_millis(2);
    let (kind, config) = Source::Cycles { per_second: 0 }.event();
    let counter = open(&Attributes::new(kind, config, 0), Target::ThisThread)?;
    let started = Instant::now();
    control(&counter, ENABLE, 0)?;
    while started.elapsed() < WHILE {
        std::hint::spin_loop();
    }
    control(&counter, DISABLE, 0)?;
    let Reading { value, enabled_ns } = Reading::of(&counter)?;
    let per_second = u128::from(value) * 1_000_000_000 / u128::from(enabled_ns.max(1));
    Ok(u64::try_from(per_second).unwrap_or(0))
}

/// `struct perf_event_attr` of `linux/perf_event.h` in its first published size.
#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_kind: u32,
    config1: u64,
}

const _: () = assert!(size_of::<Attributes>() == 64, "PERF_ATTR_SIZE_VER0");

impl Attributes {
    fn new(kind: u32, config: u64, sample_period: u64) -> Self {
        const TOTAL_TIME_ENABLED: u64 = 1;
        const DISABLED: u64 = 1;
        Self {
            kind,
            size: size_of::<Self>() as u32,
            config,
            sample_period,
            read_format: TOTAL_TIME_ENABLED,
            flags: DISABLED,
            ..Self::default()
        }
    }
}

/// What `read` gives with `PERF_FORMAT_TOTAL_TIME_ENABLED`.
struct Reading {
    value: u64,
    enabled_ns: u64,
}

impl Reading {
    fn of(mut file: &File) -> io::Result<Self> {
        let (mut value, mut enabled_ns) = ([0; 8], [0; 8]);
        let mut both = [0; 16];
        file.read_exact(&mut both)?;
        value.copy_from_slice(&both[..8]);
        enabled_ns.copy_from_slice(&both[8..]);
        Ok(Self {
            value: u64::from_ne_bytes(value),
            enabled_ns: u64::from_ne_bytes(enabled_ns),
        })
    }
}

/// What an event belongs to.
enum Target {
    /// All threads on one CPU.
    Cpu(u32),
    /// The calling thread on any CPU.
    ThisThread,
}

#[expect(unsafe_code, reason = "perf_event_open has no wrapper in libc")]
fn open(attributes: &Attributes, target: Target) -> io::Result<File> {
    let (pid, cpu) = match target {
        Target::Cpu(cpu) => (-1, i64::from(cpu)),
        Target::ThisThread => (0, -1),
    };
    const CLOSE_ON_EXEC: u64 = 1 << 3;
    let no_group = -1_i64;
    // SAFETY: the kernel reads `size` bytes of the attributes, which outlive the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attributes,
            pid,
            cpu,
            no_group,
            CLOSE_ON_EXEC,
        )
    };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { File::from_raw_fd(fd) })
}

// `linux/perf_event.h`: _IO('$', 0), _IO('$', 1), _IOW('$', 8, __u32).
const ENABLE: u32 = 0x2400;
const DISABLE: u32 = 0x2401;
const SET_BPF: u32 = 0x4004_2408;

#[expect(unsafe_code, reason = "ioctl")]
fn control(file: &File, request: u32, argument: i32) -> io::Result<()> {
    // SAFETY: the three requests take an integer and touch no memory of this process.
    match unsafe { libc::ioctl(file.as_raw_fd(), request as libc::Ioctl, argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
