//! The slowest requests of a run, kept with their hops while the load goes on.
//!
//! The client has a place for each. When an answer takes longer than the fastest of them did, its hops
//! are copied there: from memory that the probe shares, so that a request which is not among the
//! slowest costs two loads and a comparison. What the server's node saw is on its trail for as long as some
//! further requests take; so the next request carries a [`Wish`] that names the one to be kept, and the
//! server copies that one out, after its answer is sent. Both sides' places are the same ones.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nettoll_agent_common::hops::{TRAIL_HOPS, TrailHop};
use nettoll_core::{
    api::{ExemplarSide, KeptHop, KeptReady, SLOWEST},
    hop::Side,
};

use super::header::{Wish, number, set_wish};
use crate::probe::{Mark, Stamps};

/// A request and its answer, as one side has them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchange {
    /// The request's number, from 1 on.
    pub(super) sequence: u64,
    /// Sent and received, in the order in which the side does these.
    pub(super) stamps_ns: [u64; 2],
    /// What is known of the message that it received.
    pub(super) ready: Option<KeptReady>,
    /// Where the trail was before its first hop.
    pub(super) mark: Mark,
}

/// One that is kept.
#[derive(Debug, Default)]
struct Place {
    exchange: Exchange,
    round: Option<u32>,
    hops: Vec<TrailHop>,
    lost_hops: u64,
}

/// One side's places. Its thread takes the lock only to fill one.
#[derive(Clone, Debug)]
pub(crate) struct Slowest {
    side: Side,
    places: Arc<Mutex<[Place; SLOWEST]>>,
}

impl Slowest {
    /// Nothing is kept yet.
    pub(super) fn new(side: Side) -> Self {
        let place = |_| Place {
            hops: Vec::with_capacity(TRAIL_HOPS),
            ..Place::default()
        };
        Self {
            side,
            places: Arc::new(Mutex::new(std::array::from_fn(place))),
        }
    }

    fn places(&self) -> MutexGuard<'_, [Place; SLOWEST]> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, place: usize, exchange: &Exchange, round: Option<u32>, stamps: &Stamps) {
        if let Some(kept) = self.places().get_mut(place) {
            kept.exchange = *exchange;
            kept.round = round;
            kept.lost_hops = stamps.hops_since(exchange.mark, &mut kept.hops);
        }
    }

    /// What is kept so far, as it travels; `hops` gives these a form that does.
    pub(crate) fn exemplars(
        &self,
        hops: impl Fn(&[TrailHop]) -> Vec<KeptHop>,
    ) -> Vec<ExemplarSide> {
        let places = self.places();
        let used = places.iter().filter(|place| place.exchange.sequence != 0);
        let exemplar = |place: &Place| ExemplarSide {
            side: self.side,
            sequence: place.exchange.sequence,
            round: place.round,
            stamps_ns: place.exchange.stamps_ns,
            ready: place.exchange.ready,
            hops: hops(&place.hops),
            lost_hops: place.lost_hops,
        };
        used.map(exemplar).collect()
    }
}

/// The client's part: it knows which ones are the slowest.
#[derive(Debug)]
pub(super) struct Requests {
    slowest: Slowest,
    /// Round-trip times of those that are kept, by place.
    rtt_ns: [u64; SLOWEST],
    /// Where the fastest of these is.
    next: usize,
    /// Whose hops the server is still to keep, and where.
    wanted: Option<(u64, usize)>,
}

impl Requests {
    /// None were made yet.
    pub(super) fn new() -> Self {
        Self {
            slowest: Slowest::new(Side::Client),
            rtt_ns: [0; SLOWEST],
            next: 0,
            wanted: None,
        }
    }

    /// What is kept, for others.
    pub(super) fn slowest(&self) -> &Slowest {
        &self.slowest
    }

    /// The request that is about to be sent tells the server what to keep.
    #[inline]
    pub(super) fn ask(&self, request: &mut [u8], sequence: u64) {
        if let Some((wanted, place)) = self.wanted {
            let back = sequence - wanted;
            set_wish(request, Wish { back, place });
        }
    }

    /// A request was answered in that round, or in one of which nothing is kept.
    #[inline]
    pub(super) fn answered(&mut self, exchange: Exchange, round: Option<u32>, stamps: &Stamps) {
        // It told the server.
        self.wanted = None;
        let [sent, received] = exchange.stamps_ns;
        if round.is_some()
            && let Some(place) = self.rank(received - sent)
        {
            self.slowest.keep(place, &exchange, round, stamps);
            self.wanted = Some((exchange.sequence, place));
        }
    }

    /// The place of a request that took so long, where it is among the slowest.
    #[inline]
    fn rank(&mut self, rtt_ns: u64) -> Option<usize> {
        let place = self.next;
        if rtt_ns <= self.rtt_ns[place] {
            return None;
        }
        self.rtt_ns[place] = rtt_ns;
        let places = self.rtt_ns.iter().zip(0..);
        self.next = places.min().map_or(0, |(_, fastest)| fastest);
        Some(place)
    }
}

/// The server's part: it keeps what it is told to.
#[derive(Debug)]
pub(super) struct Answers {
    slowest: Slowest,
    /// The last one.
    last: Exchange,
    /// Where the trail was when its answer was sent.
    mark: Mark,
}

impl Answers {
    /// None were given yet.
    pub(super) fn new(slowest: &Slowest) -> Self {
        Self {
            slowest: slowest.clone(),
            last: Exchange::default(),
            mark: Mark::default(),
        }
    }

    /// A request, received (as `ready` says) and answered at these times, with the trail at `mark` before
    /// its answer, was answered.
    pub(super) fn answered(
        &mut self,
        request: &[u8],
        stamps_ns: [u64; 2],
        ready: Option<KeptReady>,
        mark: Mark,
        stamps: &Stamps,
    ) {
        let Some((sequence, wish)) = number(request) else {
            return;
        };
        if let Some(wish) = wish.filter(|wish| is_meant(self.last.sequence, sequence, *wish)) {
            self.slowest.keep(wish.place, &self.last, None, stamps);
        }
        self.last = Exchange {
            sequence,
            stamps_ns,
            ready,
            mark: self.mark,
        };
        self.mark = mark;
    }
}

/// Whether request `sequence` with that wish may mean an earlier one. Where it does not, the answer
/// to a request between them was lost, and it was kept then.
fn is_meant(earlier: u64, sequence: u64, wish: Wish) -> bool {
    let back = sequence.saturating_sub(earlier);
    earlier != 0 && back.min(Wish::FARTHEST) == wish.back
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_stay() {
        let mut requests = Requests::new();
        let mut random = nettoll_core::random::SplitMix64::new(1);
        let mut times: Vec<u64> = (0..1_000).map(|_| 1 + random.next_u64() % 5_000).collect();
        let mut places = [0; SLOWEST];
        for &time in &times {
            if let Some(place) = requests.rank(time) {
                places[place] = time;
            }
        }
        times.sort_unstable();
        places.sort_unstable();
        assert_eq!(times[times.len() - SLOWEST..], places);
    }

    #[test]
    fn an_equal_one_takes_no_place() {
        let mut requests = Requests::new();
        let taken: Vec<_> = (0..SLOWEST + 2).map(|_| requests.rank(7)).collect();
        let all = (0..SLOWEST).map(Some).chain([None, None]);
        assert_eq!(taken, all.collect::<Vec<_>>());
        assert_eq!(requests.rank(8), Some(0));
    }

    #[test]
    fn a_wish_means_one_request() {
        let wish = |back| Wish { back, place: 0 };
        assert!(is_meant(7, 8, wish(1)));
        // The request between them was lost on its way there.
        assert!(is_meant(7, 9, wish(2)));
        // Its answer was lost: it is the last one now, and has told its wish.
        assert!(!is_meant(8, 9, wish(2)));
        // A round without the probe was between.
        assert!(is_meant(7, 7_000, wish(31)));
        assert!(!is_meant(6_999, 7_000, wish(31)));
        assert!(!is_meant(0, 31, wish(31)));
    }
}
