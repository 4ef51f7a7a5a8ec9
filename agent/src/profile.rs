//! Samples of the kernel's stacks, in the rounds of a run.
//!
//! A program in the kernel (`agent-ebpf/src/profile.rs`) runs at each tick of a perf event on
//! every CPU and counts stacks in maps, by the run's slot. Between rounds nothing ticks. Only
//! [`Profiler::take`] turns addresses into names, once a run.
//!
//! What fails: loading needs the agent built with its eBPF programs, CAP_BPF, CAP_PERFMON, and
//! before that CAP_SYSLOG, to open the file of the symbols. A sample that cannot be counted is never dropped silently, see
//! [`Stacks::lost`].

mod events;
mod maps;
mod symbols;

use std::{collections::BTreeMap, fmt, io, os::fd::AsFd as _};

use aya::{
    Ebpf, EbpfLoader,
    maps::MapError,
    programs::{PerfEvent, ProgramError},
    util::online_cpus,
};
use nettoll_core::api::{Stack, Stacks};

pub(crate) use self::symbols::Kallsyms;
use self::{
    events::{Events, Source},
    maps::{Maps, Taken},
    symbols::Symbols,
};

/// The eBPF object, empty in a build without one.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/profile"));

/// The reason in [`Stacks::lost`] for ticks that were due and never came.
const MISSED: &str = "missed";

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    /// The binary holds no eBPF object.
    #[error("this agent was built without its eBPF programs; build it with 'cargo xtask build'")]
    NotBuilt,
    /// The object is not what this code was written for.
    #[error(
        "the embedded eBPF object has no '{0}'; build agent and programs together with \
         'cargo xtask build'"
    )]
    Missing(&'static str),
    /// The object could not be loaded.
    #[error("load the sampler's maps: {0}; it needs CAP_BPF and CAP_PERFMON, or root")]
    Load(#[from] aya::EbpfError),
    /// The verifier or the kernel refused the program.
    #[error("load the sampler's program: {0}; it needs CAP_BPF and CAP_PERFMON, or root")]
    Program(#[from] ProgramError),
    /// A map could not be read or written.
    #[error("read the sampler's maps: {0}")]
    Map(#[from] MapError),
    /// A perf event could not be opened or switched.
    #[error("sample with a perf event: {0}; it needs CAP_PERFMON, or root")]
    Event(#[source] io::Error),
    /// The kernel does not tell which CPUs it has.
    #[error("read {path}: {source}")]
    Cpus {
        /// Which file.
        path: &'static str,
        /// What happened.
        source: io::Error,
    },
    /// The symbols could not be read.
    #[error("read /proc/kallsyms: {0}")]
    Symbols(#[source] io::Error),
    /// The kernel hides the addresses of its functions.
    #[error(
        "/proc/kallsyms shows no addresses: give the agent CAP_SYSLOG, and set the sysctl \
         kernel.kptr_restrict to 0 or 1"
    )]
    HiddenSymbols,
    /// Slot 0 stands for 'off', and a rate of 0 never ticks.
    #[error("cannot sample into slot {slot} at {hz} Hz: slots are 1 to 255, rates 1 and more")]
    Usage {
        /// The slot that was asked for.
        slot: u8,
        /// The rate that was asked for.
        hz: u32,
    },
    /// There is one sampler, and it is in a round.
    #[error("slot {0} is being sampled: end that round first")]
    Sampling(u8),
    /// Rounds of one slot must be of one rate, or their samples could not be added.
    #[error("slot {slot} has samples at {hz} Hz: take them before sampling at another rate")]
    Rate {
        /// The slot.
        slot: u8,
        /// Its rate.
        hz: u32,
    },
}

/// Samples stacks of all CPUs into numbered slots, one slot a run.
pub(crate) struct Profiler {
    ebpf: Ebpf,
    maps: Maps,
    symbols: Symbols,
    source: Source,
    events: Option<Events>,
    /// The slot that is being sampled, and the ticks that were due before.
    sampling: Option<(u8, Option<u64>)>,
    slots: BTreeMap<u8, Slot>,
}

/// What is known of a slot besides what the maps hold of it.
#[derive(Clone, Debug, Default)]
struct Slot {
    hz: u32,
    cpus: u32,
    due: Option<u64>,
    /// Samples of earlier rounds, by thread and functions, outermost first.
    drained: BTreeMap<(String, Vec<String>), u64>,
    /// Samples that could not be counted in earlier rounds, by reason.
    lost: BTreeMap<String, u64>,
}

impl Profiler {
    /// Loads the program; nothing is sampled yet.
    pub(crate) fn load(kallsyms: &Kallsyms) -> Result<Self, ProfileError> {
        if OBJECT.is_empty() {
            return Err(ProfileError::NotBuilt);
        }
        let symbols = Symbols::read(kallsyms)?;
        let mut loader = EbpfLoader::new();
        for (map, size) in maps::SIZES {
            loader.map_max_entries(map, size);
        }
        let mut ebpf = loader.load(OBJECT)?;
        program(&mut ebpf)?.load()?;
        Ok(Self {
            maps: Maps::of(&mut ebpf)?,
            ebpf,
            symbols,
            source: Source::of_this_machine(),
            events: None,
            sampling: None,
            slots: BTreeMap::new(),
        })
    }

    /// Samples into `slot` (1 to 255) at `hz` per CPU until [`Self::end`].
    pub(crate) fn begin(&mut self, slot: u8, hz: u32) -> Result<(), ProfileError> {
        if slot == 0 || hz == 0 {
            return Err(ProfileError::Usage { slot, hz });
        }
        if let Some((slot, _)) = self.sampling {
            return Err(ProfileError::Sampling(slot));
        }
        if let Some(Slot { hz: before, .. }) = self.slots.get(&slot)
            && *before != hz
        {
            return Err(ProfileError::Rate { slot, hz: *before });
        }
        let cpus = online_cpus().map_err(|(path, source)| ProfileError::Cpus { path, source })?;
        let events = match self.events.take().filter(|events| events.fit(hz, &cpus)) {
            Some(events) => events,
            None => {
                let program = program(&mut self.ebpf)?.fd()?;
                Events::open(self.source, hz, cpus, program.as_fd())?
            }
        };
        let events = self.events.insert(events);
        let due = events.due()?;
        let cpus = events.cpus();
        self.maps.set_slot(slot)?;
        self.sampling = Some((slot, due));
        self.slots
            .entry(slot)
            .or_insert(Slot {
                hz,
                cpus,
                due: due.map(|_| 0),
                ..Slot::default()
            })
            .cpus = cpus;
        if let Err(error) = events.enable() {
            self.end();
            return Err(error);
        }
        Ok(())
    }

    /// Ends sampling. Without a round it changes nothing.
    pub(crate) fn end(&mut self) {
        let Some((slot, before)) = self.sampling.take() else {
            return;
        };
        if let Err(error) = self.stop(slot, before) {
            // Closing the events ends sampling for certain.
            self.events = None;
            tracing::warn!("end sampling: {error}");
        }
    }

    fn stop(&mut self, slot: u8, before: Option<u64>) -> Result<(), ProfileError> {
        let Some(events) = &self.events else {
            return Ok(());
        };
        events.disable()?;
        self.maps.set_slot(0)?;
        let after = events.due()?;
        if let Some(Slot { due: Some(due), .. }) = self.slots.get_mut(&slot)
            && let (Some(before), Some(after)) = (before, after)
        {
            *due += after - before;
        }
        // A long run has more stacks than there is room for.
        if self.maps.crowded()? {
            let slots: Vec<u8> = self.slots.keys().copied().collect();
            slots.into_iter().try_for_each(|slot| self.drain(slot))?;
        }
        Ok(())
    }

    /// Moves what the maps hold of a slot to user space, with symbols. Between rounds only.
    fn drain(&mut self, slot: u8) -> Result<(), ProfileError> {
        let Taken {
            counts,
            stacks,
            lost,
        } = self.maps.take(slot)?;
        self.symbols.refresh(stacks.values().flatten())?;
        let Some(kept) = self.slots.get_mut(&slot) else {
            return Ok(());
        };
        // Stacks that differ only in addresses within functions become one.
        for count in counts {
            let addresses = stacks.get(&count.stack).map_or(&[][..], Vec::as_slice);
            let names = addresses
                .iter()
                .rev()
                .map(|address| self.symbols.name(*address));
            let frames: Vec<_> = names.map(str::to_owned).collect();
            *kept
                .drained
                .entry((thread(&count.thread), frames))
                .or_default() += count.samples;
        }
        for (reason, samples) in lost {
            *kept.lost.entry(reason.to_owned()).or_default() += samples;
        }
        Ok(())
    }

    /// The slot's stacks with symbols, all rounds together; the slot is empty afterwards.
    ///
    /// Between rounds only: stacks are shared by all slots, and only while no CPU looks for one
    /// can it be known that nobody refers to a stack any more.
    pub(crate) fn take(&mut self, slot: u8) -> Result<Stacks, ProfileError> {
        if let Some((slot, _)) = self.sampling {
            return Err(ProfileError::Sampling(slot));
        }
        self.slots.entry(slot).or_default();
        self.drain(slot)?;
        let Slot {
            hz,
            cpus,
            due,
            drained: by_name,
            mut lost,
        } = self.slots.remove(&slot).unwrap_or_default();
        if let Some(due) = due {
            let seen = by_name.values().sum::<u64>() + lost.values().sum::<u64>();
            lost.insert(MISSED.to_owned(), due.saturating_sub(seen));
        }
        let stacks = by_name
            .into_iter()
            .map(|((thread, frames), samples)| Stack {
                thread,
                frames,
                samples,
            })
            .collect();
        Ok(Stacks {
            hz,
            source: self.source.as_str().to_owned(),
            cpus,
            lost,
            stacks,
        })
    }
}

impl fmt::Debug for Profiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profiler")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut PerfEvent, ProfileError> {
    const NAME: &str = "sample";
    Ok(ebpf
        .program_mut(NAME)
        .ok_or(ProfileError::Missing(NAME))?
        .try_into()?)
}

/// A thread's name; the idle threads, `swapper/0` and on, have one in common.
fn thread(name: &[u8; 16]) -> String {
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name);
    match name.strip_prefix("swapper/") {
        Some(_) => "swapper".to_owned(),
        None => name.into_owned(),
    }
}

#[cfg(test)]
mod tests;
