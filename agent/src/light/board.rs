//! The rounds of other agents that are followed here: what the responders' threads tell the
//! keeper of them, and the keeper the responders' threads.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::Sender,
    },
};

use nettoll_core::{
    api::{LightWatch, UserStage, UserTimes},
    hop::{Direction, Side},
};

use super::{keeper::Event, lock, message::Header};
use crate::{
    probe::Stamps,
    traffic::{Seen, header::run_hash, now_ns},
};

/// The watches of the plan. Its lock is held for some stamps at most.
#[derive(Debug)]
pub(super) struct Board {
    watches: Mutex<Vec<Watched>>,
    /// From one round of an edge to its next.
    period_ns: AtomicU64,
    keeper: Sender<Event>,
}

#[derive(Debug)]
struct Watched {
    edge: String,
    /// The edge in its messages.
    run: u32,
    client: SocketAddr,
    /// First sequence of a round that is to begin; the keeper does not know of it yet.
    announced: Option<u64>,
    /// When the last two rounds were announced, the older one first.
    heard_ns: [Option<u64>; 2],
    followed: Option<Followed>,
}

/// A round while the probe follows it.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) first_sequence: u64,
    /// How many sequences are the round's.
    requests: u32,
    pub(super) stamps: Stamps,
    socket_rx: Seen,
    responder: Seen,
    pub(super) answered: u64,
}

impl Followed {
    /// Nothing came yet.
    pub(super) fn new(first_sequence: u64, requests: u32, stamps: Stamps) -> Self {
        let seen = |stage, direction| Seen::new(stage, Side::Server, direction);
        Self {
            first_sequence,
            requests,
            stamps,
            socket_rx: seen(UserStage::SocketRx, Direction::Request),
            responder: seen(UserStage::Responder, Direction::Request),
            answered: 0,
        }
    }

    /// What the responder's thread saw.
    pub(super) fn user_times(&self) -> Vec<UserTimes> {
        [&self.socket_rx, &self.responder]
            .map(Seen::user_times)
            .into()
    }

    fn answering(&mut self, sequence: u64, received_ns: u64) {
        let number = sequence.checked_sub(self.first_sequence);
        if number.is_none_or(|number| number >= self.requests.into()) {
            return;
        }
        self.answered += 1;
        if let Some(ns) = self.stamps.received(Direction::Request, received_ns) {
            self.socket_rx.record(ns);
        }
        let now = now_ns();
        self.responder.record(now.saturating_sub(received_ns));
        self.stamps.sending(Direction::Response, now);
    }
}

impl Board {
    /// Nothing to follow; `keeper` hears of announced rounds.
    pub(super) fn new(keeper: Sender<Event>) -> Self {
        Self {
            watches: Mutex::default(),
            period_ns: AtomicU64::new(0),
            keeper,
        }
    }

    /// From now on these, with a round of each in so much time; what is followed of others is
    /// dropped.
    pub(super) fn change(&self, wanted: &[LightWatch], period_ns: u64) {
        self.period_ns.store(period_ns, Relaxed);
        let mut watches = lock(&self.watches);
        let is = |known: &Watched, watch: &LightWatch| {
            (&known.edge, known.client) == (&watch.edge, watch.from)
        };
        watches.retain(|known| wanted.iter().any(|watch| is(known, watch)));
        for watch in wanted {
            if !watches.iter().any(|known| is(known, watch)) {
                watches.push(Watched {
                    edge: watch.edge.clone(),
                    run: run_hash(&watch.edge),
                    client: watch.from,
                    announced: None,
                    heard_ns: [None; 2],
                    followed: None,
                });
            }
        }
    }

    /// A client said then that a round of it begins soon. The keeper hears of one round at a time,
    /// and of two in a period (an edge's first round may be close to its second one), however many
    /// are announced: anybody can send announcements, and the probe costs every packet of the node.
    pub(super) fn announce(&self, client: SocketAddr, round: Header, now_ns: u64) {
        let mut watches = lock(&self.watches);
        let Some(watch) = find(&mut watches, client, round.run) else {
            return;
        };
        let [older, newer] = watch.heard_ns;
        let period_ns = self.period_ns.load(Relaxed);
        let in_time = older.is_none_or(|older| now_ns.saturating_sub(older) >= period_ns);
        if in_time && watch.announced.is_none() && watch.followed.is_none() {
            watch.announced = Some(round.sequence);
            watch.heard_ns = [newer, Some(now_ns)];
            // Nobody follows anything if the keeper is gone.
            let _ = self.keeper.send(Event::Announced);
        }
    }

    /// A request that was received then is answered now.
    pub(super) fn answering(&self, client: SocketAddr, request: Header, received_ns: u64) {
        let mut watches = lock(&self.watches);
        let watch = find(&mut watches, client, request.run);
        if let Some(followed) = watch.and_then(|watch| watch.followed.as_mut()) {
            followed.answering(request.sequence, received_ns);
        }
    }

    /// The edges of which a round was announced since the last call, with its first sequence.
    pub(super) fn take_announced(&self) -> Vec<(String, u64)> {
        let mut watches = lock(&self.watches);
        let taken = |watch: &mut Watched| Some((watch.edge.clone(), watch.announced.take()?));
        watches.iter_mut().filter_map(taken).collect()
    }

    /// The probe follows a round of an edge.
    pub(super) fn begin(&self, edge: &str, round: Followed) {
        let mut watches = lock(&self.watches);
        if let Some(watch) = watches.iter_mut().find(|watch| watch.edge == edge) {
            watch.followed = Some(round);
        }
    }

    /// The probe follows it no longer.
    pub(super) fn end(&self, edge: &str) -> Option<Followed> {
        let mut watches = lock(&self.watches);
        let watch = watches.iter_mut().find(|watch| watch.edge == edge)?;
        watch.followed.take()
    }
}

fn find(watches: &mut [Watched], client: SocketAddr, run: u32) -> Option<&mut Watched> {
    (watches.iter_mut()).find(|watch| (watch.run, watch.client) == (run, client))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use nettoll_core::{
        api::{LIGHT_PORT, LightPlace, LightResponder, Protocol},
        endpoint::PathKind,
    };

    fn watch(edge: &str, from: &str) -> LightWatch {
        LightWatch {
            edge: edge.to_owned(),
            path: PathKind::HostToHost,
            responder: LightResponder {
                place: LightPlace {
                    endpoint: "node/n1".parse().unwrap(),
                    pod_uid: None,
                    address: "198.18.0.1".parse().unwrap(),
                },
                port: LIGHT_PORT,
                protocol: Protocol::Udp,
            },
            from: from.parse().unwrap(),
            from_node: None,
        }
    }

    #[test]
    fn the_keeper_hears_of_the_plans_rounds_and_of_one_at_a_time() {
        let (keeper, heard) = channel();
        let board = Board::new(keeper);
        let (ours, other) = ("198.18.0.2:9478", "198.18.0.3:9478");
        board.change(&[watch("a", ours)], 0);
        let announce = |from: &str, edge: &str, sequence| {
            let run = run_hash(edge);
            board.announce(from.parse().unwrap(), Header { run, sequence }, 0);
        };
        announce(other, "a", 1);
        announce(ours, "b", 1);
        assert!(board.take_announced().is_empty() && heard.try_recv().is_err());
        (7..1_000).for_each(|sequence| announce(ours, "a", sequence));
        assert_eq!(heard.try_iter().count(), 1);
        assert_eq!(board.take_announced(), [("a".to_owned(), 7)]);
        announce(ours, "a", 8);
        // The same edge from another place is another flow.
        board.change(&[watch("a", other)], 0);
        assert!(board.take_announced().is_empty());
        announce(other, "a", 9);
        board.change(&[watch("a", other), watch("b", ours)], 0);
        assert_eq!(board.take_announced(), [("a".to_owned(), 9)], "it stays");
    }

    #[test]
    fn whoever_announces_without_end_has_two_rounds_followed_in_a_period() {
        let (keeper, heard) = channel();
        let board = Board::new(keeper);
        let ours = "198.18.0.2:9478";
        board.change(&[watch("a", ours), watch("b", ours)], 30_000);
        let mut told = Vec::new();
        for now_ns in 1..=90_000 {
            let run = run_hash("a");
            let sequence = now_ns;
            board.announce(ours.parse().unwrap(), Header { run, sequence }, now_ns);
            // Each is over at once, which is the worst for the probe.
            told.extend(board.take_announced().into_iter().map(|(_, at)| at));
        }
        assert_eq!(told, [1, 2, 30_001, 30_002, 60_001, 60_002]);
        assert_eq!(heard.try_iter().count(), 6);
        // The other edge's are its own.
        let run = run_hash("b");
        let sequence = 5;
        board.announce(ours.parse().unwrap(), Header { run, sequence }, 90_000);
        assert_eq!(board.take_announced(), [("b".to_owned(), 5)]);
    }

    #[test]
    fn no_round_of_an_edge_is_passed_over() {
        let (keeper, _heard) = channel();
        let board = Board::new(keeper);
        let ours = "198.18.0.2:9478";
        board.change(&[watch("a", ours)], 30_000);
        // The first one soon after the edge is new, the others at their times, give or take what a
        // busy machine does.
        for now_ns in [7_000, 9_000, 39_500, 68_900, 99_100, 128_800] {
            let run = run_hash("a");
            let sequence = now_ns;
            board.announce(ours.parse().unwrap(), Header { run, sequence }, now_ns);
            assert_eq!(board.take_announced(), [("a".to_owned(), now_ns)]);
        }
    }
}
