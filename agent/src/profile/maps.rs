//! The sampler's maps, as user space sees them.

use std::collections::{BTreeMap, HashMap, HashSet};

use aya::{
    Ebpf,
    maps::{
        Array, HashMap as KernelHashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap,
        PerCpuValues,
    },
};
use nettoll_agent_common::profile::{Lost, SampleKey, StackFrames, USER};

use super::ProfileError;

/// Places for stacks, about 1 KiB each. `docs/profile.md` says how many a run has.
const STACKS: u32 = 16_384;

/// The maps' sizes by name. There is one count for each stack, thread name and slot.
pub(super) const SIZES: [(&str, u32); 2] = [("STACKS", STACKS), ("SAMPLES", 2 * STACKS)];

/// The maps.
pub(super) struct Maps {
    slot: Array<MapData, u32>,
    stacks: KernelHashMap<MapData, u64, StackFrames>,
    samples: PerCpuHashMap<MapData, SampleKey, u64>,
    lost: PerCpuArray<MapData, u64>,
}

/// What a slot held.
pub(super) struct Taken {
    /// By thread name and stack.
    pub(super) counts: Vec<Count>,
    /// The stacks by their hashes: addresses of instructions, innermost first.
    pub(super) stacks: HashMap<u64, Vec<u64>>,
    /// Samples without a usable stack, by reason; all reasons.
    pub(super) lost: BTreeMap<&'static str, u64>,
}

/// One count of all CPUs together.
pub(super) struct Count {
    /// The thread's name, padded with zeros.
    pub(super) thread: [u8; 16],
    /// In [`Taken::stacks`]; none of those for a sample in user space.
    pub(super) stack: u64,
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

    /// More than half of the places for stacks are taken.
    pub(super) fn crowded(&self) -> Result<bool, MapError> {
        for (taken, key) in self.stacks.keys().enumerate() {
            key?;
            if taken as u32 >= STACKS / 2 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes what the slot holds, and forgets the stacks that no other slot refers to.
    ///
    /// Only while nothing is sampled: a CPU that found its stack in the map and has not counted
    /// it yet would refer to it, unseen.
    pub(super) fn take(&mut self, slot: u8) -> Result<Taken, MapError> {
        let (slot, mut counts, mut keys) = (u32::from(slot), Vec::new(), Vec::new());
        let mut used_by_others = HashSet::new();
        for entry in self.samples.iter() {
            let (key, values) = entry?;
            let SampleKey { stack, thread, .. } = key;
            if key.slot == slot {
                keys.push(key);
                counts.push(Count {
                    thread,
                    stack,
                    samples: values.iter().sum(),
                });
            } else {
                used_by_others.insert(stack);
            }
        }
        let used: HashSet<_> = counts
            .iter()
            .map(|count| count.stack)
            .filter(|stack| *stack != USER)
            .collect();
        let mut stacks = HashMap::with_capacity(used.len());
        for stack in used {
            stacks.insert(stack, instructions(&self.stacks.get(&stack, 0)?));
        }
        let lost = self.take_lost(slot)?;
        for key in &keys {
            self.samples.remove(key)?;
        }
        for stack in stacks
            .keys()
            .filter(|stack| !used_by_others.contains(stack))
        {
            self.stacks.remove(stack)?;
        }
        Ok(Taken {
            counts,
            stacks,
            lost,
        })
    }

    fn take_lost(&mut self, slot: u32) -> Result<BTreeMap<&'static str, u64>, MapError> {
        Lost::ALL
            .into_iter()
            .map(|reason| {
                let index = reason.index(slot);
                let values = self.lost.get(&index, 0)?;
                self.lost
                    .set(index, PerCpuValues::try_from(vec![0; values.len()])?, 0)?;
                Ok((reason.as_str(), values.iter().sum()))
            })
            .collect()
    }
}

/// The addresses that a stack names, each within the instruction that was under way.
///
/// The innermost is one already. All others are what a call returns to, which is already the
/// next function where the call was a function's last instruction.
fn instructions(StackFrames(frames): &StackFrames) -> Vec<u64> {
    let frames = frames
        .iter()
        .take_while(|address| **address != 0)
        .enumerate();
    frames
        .map(|(depth, address)| address - u64::from(depth > 0))
        .collect()
}
