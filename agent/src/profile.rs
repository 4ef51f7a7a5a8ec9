//! Samples of the kernel's stacks, in the rounds of a run.

use nettoll_core::api::Stacks;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    /// The binary holds no eBPF object.
    #[error("this agent was built without its eBPF programs; build it with 'cargo xtask build'")]
    NotBuilt,
}

/// Samples stacks of all CPUs into numbered slots, one slot a run.
#[derive(Debug)]
pub(crate) struct Profiler {}

impl Profiler {
    /// Loads the program; nothing is sampled yet.
    pub(crate) fn load() -> Result<Self, ProfileError> {
        Err(ProfileError::NotBuilt)
    }

    /// Samples into `slot` (1 to 255) at `hz` per CPU until [`Self::end`].
    pub(crate) fn begin(&mut self, _slot: u8, _hz: u32) -> Result<(), ProfileError> {
        Err(ProfileError::NotBuilt)
    }

    /// Ends sampling.
    pub(crate) fn end(&mut self) {}

    /// The slot's stacks with symbols, all rounds together; the slot is empty afterwards.
    pub(crate) fn take(&mut self, _slot: u8) -> Result<Stacks, ProfileError> {
        Err(ProfileError::NotBuilt)
    }
}
