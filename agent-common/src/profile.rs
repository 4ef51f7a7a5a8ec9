//! What the sampler counts: the keys and indices of its maps.

/// Slots, 0 included, which stands for 'sample nothing'.
pub const SLOTS: u32 = 256;

/// [`SampleKey::stack`] of a CPU that was in user space: the kernel had no stack. No stack id is
/// this large, a stack map's ids are below its size.
pub const USER: u32 = u32::MAX;

/// What is counted apart, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleKey {
    /// Whose sample, 1 to 255.
    pub slot: u32,
    /// The id in the stack map, or [`USER`].
    pub stack: u32,
    /// The thread's name, padded with zeros.
    pub thread: [u8; 16],
}

const _: () = assert!(size_of::<SampleKey>() == 24, "a map's key has no padding");

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "the trait's promise cannot be checked by the compiler"
)]
// SAFETY: plain integers, no padding (asserted above), any bytes are a valid value.
unsafe impl aya::Pod for SampleKey {}

/// Why a sample has no usable stack.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Another stack with the same hash bits holds the place in the stack map (`-EEXIST`).
    Collision,
    /// The stack map has no free element (`-ENOMEM`).
    StacksFull,
    /// The CPU was in the kernel, but it could not be unwound there (`-EFAULT`).
    Unwind,
    /// No place for another key in the map of counts (`-E2BIG`).
    CountsFull,
    /// The map of counts was locked by what the sample interrupted (`-EBUSY`).
    Busy,
    /// Any other error of the kernel.
    Other,
}

impl Lost {
    /// In the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Collision,
        Self::StacksFull,
        Self::Unwind,
        Self::CountsFull,
        Self::Busy,
        Self::Other,
    ];

    /// The name in results.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Collision => "collision",
            Self::StacksFull => "stacks_full",
            Self::Unwind => "unwind",
            Self::CountsFull => "counts_full",
            Self::Busy => "busy",
            Self::Other => "other",
        }
    }

    /// The counter of this reason and slot.
    #[must_use]
    pub const fn index(self, slot: u32) -> u32 {
        slot * Self::ALL.len() as u32 + self as u32
    }
}

/// Counters of losses: one for each reason and slot.
pub const LOST_COUNTERS: u32 = SLOTS * Lost::ALL.len() as u32;
