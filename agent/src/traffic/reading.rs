//! What becomes of a message between the last device and the thread that reads it.
//!
//! The thread stamps its receive call too, in rounds with the probe: with the probe's stamps this
//! tells whether data waited for the call, or the call for data.

use nettoll_core::{
    api::{KeptReady, UserStage},
    arrival::{Arrival, Parts},
    hop::{Direction, Side},
};

use super::{Seen, clock::now_ns};

/// When a thread called to receive, the last time that it did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadCall {
    /// It is of interest.
    pub(super) stamps: bool,
    /// When, in ns.
    at_ns: u64,
}

impl ReadCall {
    /// The thread is about to call.
    #[inline]
    pub(super) fn begins(&mut self) {
        if self.stamps {
            self.at_ns = now_ns();
        }
    }
}

/// The parts of `socket_rx` of one side, for a thread that reads one message at a time.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    whole: Seen,
    work: Seen,
    backlog: Seen,
    queue: Seen,
    wakeup: Seen,
}

impl Reading {
    /// Nothing was read yet.
    pub(super) fn new(side: Side, direction: Direction) -> Self {
        let seen = |stage| Seen::new(stage, side, direction);
        Self {
            whole: seen(UserStage::SocketUnsplit),
            work: seen(UserStage::SocketWork),
            backlog: seen(UserStage::SocketBacklog),
            queue: seen(UserStage::SocketQueue),
            wakeup: seen(UserStage::Wakeup),
        }
    }

    /// A message came so, was asked for by that call, and is there. What is to be kept of it, if it is.
    #[inline]
    pub(super) fn read(&self, arrival: Arrival, call: ReadCall, now_ns: u64) -> Option<KeptReady> {
        let Parts {
            whole_ns,
            work_ns,
            backlog_ns,
            queue_ns,
            wakeup_ns,
        } = arrival.parts(call.at_ns, now_ns);
        for (seen, ns) in [
            (&self.whole, whole_ns),
            (&self.work, work_ns),
            (&self.backlog, backlog_ns),
            (&self.queue, queue_ns),
            (&self.wakeup, wakeup_ns),
        ] {
            if let Some(ns) = ns {
                seen.record(ns);
            }
        }
        let ready = arrival.ready.filter(|_| whole_ns.is_none())?;
        Some(KeptReady {
            at_ns: ready.at_ns,
            backlog: ready.backlog,
            read_ns: queue_ns.map(|_| call.at_ns),
        })
    }

    /// All of them.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let Self {
            whole,
            work,
            backlog,
            queue,
            wakeup,
        } = self;
        [whole, work, backlog, queue, wakeup]
            .map(Seen::clone)
            .into()
    }
}
