//! The keeper's side of what other agents ask with the probe on both nodes: follows each round
//! from its announcement until it should be over.

use std::{collections::BTreeMap, sync::Arc};

use nettoll_core::api::{LightPlan, LightWatch, LightWatched};

use super::{
    LEAD_NS, Shared,
    board::{Board, Followed},
    lock,
    round::Pace,
    route::Route,
};
use crate::{
    path::Node,
    runs::{Runs, Watch},
    traffic::now_ns,
};

/// So much later than it should be the last request of a round may come and be answered.
const GRACE_NS: u64 = 250_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// The plan's watches.
#[derive(Debug)]
pub(super) struct Watches {
    board: Arc<Board>,
    /// By edge.
    all: BTreeMap<String, Kept>,
}

#[derive(Debug)]
struct Kept {
    watch: LightWatch,
    route: Route,
    /// The probe on a round, and until when.
    open: Option<(Watch, u64)>,
}

impl Watches {
    pub(super) fn new(board: Arc<Board>) -> Self {
        Self {
            board,
            all: BTreeMap::new(),
        }
    }

    /// From now on these. Those that stay are not touched.
    pub(super) fn change(&mut self, plan: &LightPlan, shared: &Shared) {
        let wanted = &plan.watches;
        self.board
            .change(wanted, u64::from(plan.period_ms) * NS_PER_MS);
        lock(&shared.watched).keep(|edge| wanted.iter().any(|watch| watch.edge == edge));
        self.all.retain(|_, kept| wanted.contains(&kept.watch));
        for watch in wanted {
            self.all.entry(watch.edge.clone()).or_insert_with(|| Kept {
                watch: watch.clone(),
                route: Route::of_watch(watch),
                open: None,
            });
        }
    }

    /// When there is something to do without an announcement.
    pub(super) fn until_ns(&self) -> Option<u64> {
        let open = self.all.values().filter_map(|kept| kept.open.as_ref());
        open.map(|(_, until_ns)| *until_ns).min()
    }

    /// Follows the rounds that were announced.
    pub(super) fn begin(&mut self, pace: Pace, node: &Node, runs: &Arc<Runs>, shared: &Shared) {
        for (edge, first_sequence) in self.board.take_announced() {
            let Some(kept) = self.all.get_mut(&edge) else {
                continue;
            };
            match kept.route.watch(node, runs) {
                Ok((watch, stamps)) => {
                    kept.open = Some((watch, now_ns() + LEAD_NS + pace.sending_ns() + GRACE_NS));
                    stamps.mark(true);
                    let round = Followed::new(first_sequence, pace.requests, stamps);
                    self.board.begin(&edge, round);
                }
                Err(why) => tell(
                    shared,
                    now_ns(),
                    LightWatched {
                        no_probe: Some(why),
                        ..blank(&edge, first_sequence)
                    },
                ),
            }
        }
    }

    /// Tells of the rounds that are over.
    pub(super) fn end_due(&mut self, node: &Node, shared: &Shared) {
        let now = now_ns();
        for (edge, kept) in &mut self.all {
            let Some((watch, _)) = kept.open.take_if(|(_, until_ns)| *until_ns <= now) else {
                continue;
            };
            let Some(round) = self.board.end(edge) else {
                continue;
            };
            round.stamps.mark(false);
            let mut told = LightWatched {
                answered: round.answered,
                ..blank(edge, round.first_sequence)
            };
            match kept.route.stages(node, watch, round.user_times()) {
                Ok(stages) => told.stages = stages,
                Err(why) => told.no_probe = Some(why),
            }
            tell(shared, now, told);
        }
    }
}

fn tell(shared: &Shared, ended_ns: u64, round: LightWatched) {
    lock(&shared.watched).put(&round.edge.clone(), ended_ns, round);
}

fn blank(edge: &str, first_sequence: u64) -> LightWatched {
    LightWatched {
        edge: edge.to_owned(),
        first_sequence,
        age_ms: 0,
        answered: 0,
        stages: Vec::new(),
        no_probe: None,
    }
}
