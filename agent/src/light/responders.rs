//! The plan's responders: opened when the plan names them, and again when they went away.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use nettoll_core::api::{LightResponder, LightResponderState};

use super::{Shared, board::Board, lock, responder::Responder};
use crate::path::Node;

/// The responders, those that cannot be opened included.
#[derive(Debug)]
pub(super) struct Responders {
    board: Arc<Board>,
    all: BTreeMap<LightResponder, Option<Responder>>,
    /// When they were looked after; `None` when that is to be done now.
    looked: Option<Instant>,
}

/// How a responder fares, for the API.
#[derive(Debug)]
pub(super) struct Fares {
    responder: LightResponder,
    answered: Arc<AtomicU64>,
    failed: Option<String>,
}

impl Fares {
    pub(super) fn state(&self) -> LightResponderState {
        LightResponderState {
            responder: self.responder.clone(),
            answered: self.answered.load(Relaxed),
            failed: self.failed.clone(),
        }
    }
}

impl Responders {
    /// None yet; they will tell `board` of announced rounds.
    pub(super) fn new(board: Arc<Board>) -> Self {
        Self {
            board,
            all: BTreeMap::new(),
            looked: None,
        }
    }

    /// From now on these. Those that stay are not touched.
    pub(super) fn change(&mut self, wanted: &[LightResponder], shared: &Shared) {
        self.all.retain(|known, _| wanted.contains(known));
        lock(&shared.responders).retain(|known| wanted.contains(&known.responder));
        for responder in wanted {
            self.all.entry(responder.clone()).or_default();
        }
        self.looked = None;
    }

    /// Opens what is not open, if it is time to.
    pub(super) fn look(&mut self, node: &Node, shared: &Shared, every: Duration) {
        if self.looked.is_some_and(|looked| looked.elapsed() < every) {
            return;
        }
        self.looked = Some(Instant::now());
        for (responder, open) in &mut self.all {
            if open.as_ref().is_some_and(Responder::is_there) {
                continue;
            }
            // Its port is free before it is opened again.
            drop(open.take());
            let opened = start(responder, node, shared, &self.board);
            let failed = opened.as_ref().err().cloned();
            *open = opened.ok();
            let fares = Fares {
                responder: responder.clone(),
                answered: open.as_ref().map_or_else(Arc::default, Responder::answered),
                failed,
            };
            let mut all = lock(&shared.responders);
            match all.iter_mut().find(|known| known.responder == *responder) {
                Some(known) => *known = fares,
                None => all.push(fares),
            }
        }
    }
}

fn start(
    responder: &LightResponder,
    node: &Node,
    shared: &Shared,
    board: &Arc<Board>,
) -> Result<Responder, String> {
    let place = &responder.place;
    let netns = node
        .netns(&place.endpoint, place.pod_uid.as_deref())
        .map_err(|error| error.to_string())?;
    Responder::open(netns, responder, &shared.answers, Arc::clone(board))
        .map_err(|error| error.to_string())
}
