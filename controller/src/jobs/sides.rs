//! What a run's sides gave, before it is joined.

use nettoll_core::api::{RoundSide, RoundSpec, RunSide};

/// A round that was run, or tried.
#[derive(Clone, Debug)]
pub(super) struct MeasuredRound {
    pub(super) spec: RoundSpec,
    /// What both sides measured, or why there is nothing.
    pub(super) outcome: Result<Sides, String>,
}

/// A round as its sides saw it.
#[derive(Clone, Debug)]
pub(super) struct Sides {
    pub(super) client: RoundSide,
    /// `None` where one agent has both sockets.
    pub(super) server: Option<RoundSide>,
}

impl Sides {
    /// Why the round is no good, by either side.
    pub(super) fn invalid_reason(&self) -> Option<&str> {
        let sides = [Some(&self.client), self.server.as_ref()];
        sides
            .into_iter()
            .flatten()
            .find_map(|side| side.invalid_reason.as_deref())
    }
}

/// What the agents gave for all rounds together.
#[derive(Clone, Debug)]
pub(super) struct FinishedRun {
    pub(super) client: RunSide,
    /// `None` where one agent has both sockets.
    pub(super) server: Option<RunSide>,
}

impl FinishedRun {
    /// What each agent gave.
    pub(super) fn sides(&self) -> impl Iterator<Item = &RunSide> {
        std::iter::once(&self.client).chain(&self.server)
    }
}
