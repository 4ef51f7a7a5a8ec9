//! The sampler's maps, as user space sees them.

use std::collections::{BTreeMap, HashMap, HashSet};

use aya::{
    Ebpf,
    maps::{
        Array, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues, StackTraceMap,
    },
};
use nettoll_agent_common::profile::{Lost, SampleKey, USER};

use super::ProfileError;

/// Places in the stack map, about 1 KiB each, a power of two. `docs/profile.md` says how many
/// stacks a run has and how many of them collide.
const STACKS: u32 = 16_384;

/// The maps' sizes by name. There is one count for each stack, thread name and slot.
pub(super) const SIZES: [(&str, u32); 2] = [("STACKS", STACKS), ("SAMPLES", 2 * STACKS)];

/// The maps.
pub(super) struct Maps {
    slot: Array<MapData, u32>,
    stacks: StackTraceMap<MapData>,
    samples: PerCpuHashMap<MapData, SampleKey, u64>,
    lost: PerCpuArray<MapData, u64>,
}

/// What a slot held.
pub(super) struct Taken {
    /// By thread name and stack.
    pub(super) counts: Vec<Count>,
    /// The stacks: addresses of instructions, innermost first.
    pub(super) stacks: HashMap<u32, Vec<u64>>,
    /// Samples without a usable stack, by reason; all reasons.
    pub(super) lost: BTreeMap<&'static str, u64>,
}

/// One count of all CPUs together.
pub(super) struct Count {
    /// The thread's name, padded with zeros.
    pub(super) thread: [u8; 16],
    /// In [`Taken::stacks`]; none of those for a sample in user space.
    pub(super) stack: u32,
    /// How often.
    pub(super) samples: u64,
}

impl Maps {
    /// Takes the maps out of the loaded object.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, ProfileError> {
        let mut map =
            |name| -> Result<Map, _> { ebpf.take_map(name).ok_or(ProfileError::Missing(name)) };
        Ok(Self {
            slot: map("SLOT")?.try_into()?,
            stacks: map("STACKS")?.try_into()?,
            samples: map("SAMPLES")?.try_into()?,
            lost: map("LOST")?.try_into()?,
        })
    }

    /// Where samples go from now on, 0 for nowhere.
    pub(super) fn set_slot(&mut self, slot: u8) -> Result<(), MapError> {
        self.slot.set(0, u32::from(slot), 0)
    }

    /// Takes what the slot holds, and forgets the stacks that no other slot refers to.
    ///
    /// Only while nothing is sampled: a CPU that looks up a stack and has not counted it yet
    /// would refer to it, unseen.
    pub(super) fn take(&mut self, slot: u8) -> Result<Taken, MapError> {
        let counts = self.take_counts(slot)?;
        let stacks = self.stacks(&counts)?;
        self.forget_stacks()?;
        Ok(Taken {
            counts,
            stacks,
            lost: self.take_lost(slot)?,
        })
    }

    fn take_counts(&mut self, slot: u8) -> Result<Vec<Count>, MapError> {
        let mut keys = Vec::new();
        let mut counts = Vec::new();
        for entry in self.samples.iter() {
            let (key, values) = entry?;
            if key.slot == u32::from(slot) {
                keys.push(key);
                let SampleKey {
                    slot: _,
                    stack,
                    thread,
                } = key;
                counts.push(Count {
                    thread,
                    stack,
                    samples: values.iter().sum(),
                });
            }
        }
        for key in &keys {
            self.samples.remove(key)?;
        }
        Ok(counts)
    }

    fn stacks(&self, counts: &[Count]) -> Result<HashMap<u32, Vec<u64>>, MapError> {
        let ids: HashSet<u32> = counts
            .iter()
            .map(|count| count.stack)
            .filter(|id| *id != USER)
            .collect();
        ids.into_iter()
            .map(|id| {
                let trace = self.stacks.get(&id, 0)?;
                // The innermost address is an instruction's. All others are what a call returns
                // to, which is already the next function where the call was a function's last
                // instruction.
                let frames = trace.frames().iter().enumerate();
                Ok((
                    id,
                    frames
                        .map(|(depth, frame)| frame.ip - u64::from(depth > 0))
                        .collect(),
                ))
            })
            .collect()
    }

    fn forget_stacks(&mut self) -> Result<(), MapError> {
        let used: HashSet<u32> = self
            .samples
            .keys()
            .map(|key| Ok(key?.stack))
            .collect::<Result<_, MapError>>()?;
        let known: Vec<u32> = self.stacks.stack_ids().collect::<Result<_, _>>()?;
        for id in known.iter().filter(|id| !used.contains(id)) {
            self.stacks.remove(id)?;
        }
        Ok(())
    }

    fn take_lost(&mut self, slot: u8) -> Result<BTreeMap<&'static str, u64>, MapError> {
        Lost::ALL
            .into_iter()
            .map(|reason| {
                let index = reason.index(u32::from(slot));
                let values = self.lost.get(&index, 0)?;
                self.lost
                    .set(index, PerCpuValues::try_from(vec![0; values.len()])?, 0)?;
                Ok((reason.as_str(), values.iter().sum()))
            })
            .collect()
    }
}
