//! One round's requests: which are due, which are answered, and when it is over. No clock and no
//! sockets here; all times are of `CLOCK_MONOTONIC`.

use nettoll_core::{
    api::{LightPlan, Times},
    histogram::{Histogram, USER_SUB_BITS},
};

/// How the requests of a round follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) requests: u32,
    pub(super) interval_ns: u64,
    pub(super) timeout_ns: u64,
}

impl Pace {
    pub(super) fn of(plan: &LightPlan) -> Self {
        Self {
            requests: plan.requests,
            interval_ns: 1_000_000_000 / u64::from(plan.requests_per_second.max(1)),
            timeout_ns: u64::from(plan.timeout_ms) * 1_000_000,
        }
    }

    /// How long the requests of a round go out.
    pub(super) fn sending_ns(self) -> u64 {
        u64::from(self.requests) * self.interval_ns
    }
}

/// A round that has begun or soon does.
#[derive(Debug)]
pub(super) struct Round {
    pace: Pace,
    start_ns: u64,
    /// When each request was sent; its length is the number of those that were due.
    sent_ns: Vec<u64>,
    rtt_ns: Vec<Option<u64>>,
    answered: u32,
}

/// What came of a round.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) rtt: Times,
    /// From due to sent, of the answered requests.
    pub(super) late_ns: u64,
    /// The latest of all.
    pub(super) latest_ns: u64,
}

impl Round {
    pub(super) fn new(pace: Pace, start_ns: u64) -> Self {
        Self {
            pace,
            start_ns,
            sent_ns: Vec::with_capacity(pace.requests as usize),
            rtt_ns: vec![None; pace.requests as usize],
            answered: 0,
        }
    }

    /// Requests that were due.
    pub(super) fn sent(&self) -> u64 {
        self.sent_ns.len() as u64
    }

    /// When a request is due.
    fn due_ns(&self, number: u64) -> u64 {
        self.start_ns + number * self.pace.interval_ns
    }

    /// When the next request is due; `None` after the last one.
    fn next_ns(&self) -> Option<u64> {
        let number = self.sent_ns.len() as u64;
        (number < self.pace.requests.into()).then(|| self.due_ns(number))
    }

    /// The number of a request that is due, which now is sent.
    pub(super) fn send(&mut self, now_ns: u64) -> Option<u64> {
        self.next_ns().filter(|due_ns| *due_ns <= now_ns)?;
        let number = self.sent_ns.len() as u64;
        self.sent_ns.push(now_ns);
        Some(number)
    }

    /// A request's answer is here. False: it is too late, or the second one, or to no request.
    pub(super) fn answer(&mut self, number: u64, now_ns: u64) -> bool {
        let Some(sent_ns) = self.sent_ns.get(number as usize) else {
            return false;
        };
        let rtt_ns = now_ns.saturating_sub(*sent_ns);
        if rtt_ns > self.pace.timeout_ns {
            return false;
        }
        match self.rtt_ns.get_mut(number as usize) {
            Some(rtt @ None) => {
                *rtt = Some(rtt_ns);
                self.answered += 1;
                true
            }
            _ => false,
        }
    }

    /// When there is something to do without an answer.
    pub(super) fn wake_ns(&self) -> u64 {
        let last_ns = self.sent_ns.last().copied().unwrap_or_default();
        self.next_ns().unwrap_or(last_ns + self.pace.timeout_ns)
    }

    /// Nothing more is sent or waited for.
    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        self.next_ns().is_none()
            && (self.answered == self.pace.requests || self.wake_ns() <= now_ns)
    }

    pub(super) fn tally(&self) -> Tally {
        let mut rtt = Histogram::new(USER_SUB_BITS);
        let (mut late_ns, mut latest_ns) = (0, 0);
        for ((number, sent_ns), answered) in (0..).zip(&self.sent_ns).zip(&self.rtt_ns) {
            let late = sent_ns - self.due_ns(number);
            latest_ns = latest_ns.max(late);
            if let Some(ns) = answered {
                rtt.record(*ns);
                late_ns += late;
            }
        }
        Tally {
            sent: self.sent_ns.len() as u64,
            answered: self.answered.into(),
            rtt: rtt.to_times(),
            late_ns,
            latest_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const START: u64 = 5_000 * MS;

    fn round(requests: u32) -> Round {
        let pace = Pace {
            requests,
            interval_ns: 10 * MS,
            timeout_ns: 1_000 * MS,
        };
        Round::new(pace, START)
    }

    #[test]
    fn requests_are_sent_at_their_times_and_not_before() {
        let mut round = round(2);
        assert_eq!(round.send(START - 1), None);
        assert_eq!(round.wake_ns(), START);
        assert_eq!(round.send(START), Some(0));
        assert_eq!(round.send(START), None);
        assert_eq!(round.wake_ns(), START + 10 * MS);
        assert_eq!(round.send(START + 11 * MS), Some(1));
        assert_eq!(round.send(START + 99 * MS), None);
        assert_eq!(round.wake_ns(), START + 1_011 * MS);
        assert_eq!(round.tally().latest_ns, MS);
    }

    #[test]
    fn the_agents_own_delay_is_told_apart() {
        let mut round = round(3);
        // The agent did not run for a while: all three are due at once.
        let now = START + 25 * MS;
        assert_eq!(
            [round.send(now), round.send(now), round.send(now)],
            [Some(0), Some(1), Some(2)]
        );
        assert!(round.answer(2, now + MS));
        assert!(round.answer(0, now + 2 * MS));
        let tally = round.tally();
        assert_eq!((tally.sent, tally.answered), (3, 2));
        assert_eq!(tally.rtt.sum_ns, 3 * MS);
        assert_eq!((tally.late_ns, tally.latest_ns), (30 * MS, 25 * MS));
    }

    #[test]
    fn a_late_answer_is_a_loss_and_no_latency() {
        let mut round = round(2);
        round.send(START);
        round.send(START + 10 * MS);
        assert!(!round.answer(0, START + 1_000 * MS + 1));
        assert!(round.answer(1, START + 1_010 * MS));
        assert!(round.is_over(START + 1_010 * MS));
        let tally = round.tally();
        assert_eq!((tally.sent, tally.answered), (2, 1));
        assert_eq!((tally.rtt.count, tally.rtt.max_ns), (1, 1_000 * MS));
    }

    #[test]
    fn an_answer_counts_once_and_only_to_what_was_sent() {
        let mut round = round(2);
        assert!(!round.answer(0, START));
        round.send(START);
        assert!(!round.answer(1, START) && !round.answer(7, START));
        assert!(round.answer(0, START + 1) && !round.answer(0, START + 2));
        assert_eq!(round.tally().answered, 1);
        assert!(!round.is_over(START + MS), "one is still to be sent");
        round.send(START + 10 * MS);
        assert!(!round.is_over(START + 11 * MS), "one is still under way");
        assert!(round.answer(1, START + 11 * MS) && round.is_over(START + 11 * MS));
    }
}
