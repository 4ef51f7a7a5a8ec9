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
    /// Of datagrams the client knows what it sent, and the server what arrived: the round's bytes are
    /// these, and what is missing is lost.
    pub(super) fn of(mut client: RoundSide, server: Option<RoundSide>) -> Self {
        if client.arrived.is_none() {
            client.arrived = server.as_ref().and_then(|side| side.arrived.clone());
        }
        if let (Some(sent), Some(arrived)) = (client.sent, &client.arrived) {
            client.bytes = arrived.bytes;
            client.lost = sent.saturating_sub(arrived.datagrams);
        }
        Self { client, server }
    }

    /// Why the round is no good by itself, by either side.
    pub(super) fn failure(&self) -> Option<&str> {
        self.told(|side| side.invalid_reason.as_deref())
    }

    /// What disturbed a round that is good by itself, by either side.
    pub(super) fn disturbance(&self) -> Option<&str> {
        let disturbed = || self.told(|side| side.disturbed.as_deref());
        self.failure().is_none().then(disturbed).flatten()
    }

    /// Why the round is no good.
    pub(super) fn invalid_reason(&self) -> Option<&str> {
        self.failure().or_else(|| self.disturbance())
    }

    fn told<'a>(&'a self, of: fn(&'a RoundSide) -> Option<&'a str>) -> Option<&'a str> {
        std::iter::once(&self.client)
            .chain(&self.server)
            .find_map(of)
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
