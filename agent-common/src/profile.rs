//! What the sampler counts: the keys and indices of its maps.

/// Slots, 0 included, which stands for 'sample nothing'.
pub const SLOTS: u32 = 256;

/// Frames of a stack that are kept: `PERF_MAX_STACK_DEPTH`, beyond which no kernel unwinds
/// without a sysctl.
pub const DEPTH: usize = 127;

/// A stack: addresses, innermost first, zeros after the last.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct StackFrames(pub [u64; DEPTH]);

/// [`SampleKey::stack`] of a CPU that was in user space: the kernel had no stack.
pub const USER: u64 = 0;

/// What is counted apart, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleKey {
    /// The stack's hash, or [`USER`].
    pub stack: u64,
    /// The thread's name, padded with zeros.
    pub thread: [u8; 16],
    /// Whose sample, 1 to 255.
    pub slot: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = assert!(size_of::<SampleKey>() == 32, "a map's key has no padding");

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "the trait's promise cannot be checked by the compiler"
)]
mod pod {
    // SAFETY: plain integers, no padding (asserted above), any bytes are a valid value.
    unsafe impl aya::Pod for super::SampleKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::StackFrames {}
}

/// Why a sample has no usable stack.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// No place for another stack (`-E2BIG`).
    StacksFull,
    /// The CPU was in the kernel, but it could not be unwound there.
    Unwind,
    /// No place for another count (`-E2BIG`).
    CountsFull,
    /// A map was locked by what the sample interrupted (`-EBUSY`).
    Busy,
    /// Any other error of the kernel.
    Other,
}

impl Lost {
    /// In the order of their numbers.
    pub const ALL: [Self; 5] = [
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
