//! One round as the client measures it.

use std::time::Duration;

use nettoll_core::{
    api::RoundSide,
    histogram::{Histogram, USER_SUB_BITS},
};

use super::{TrafficError, clock::now_ns, interval::Interval};
use crate::probe::Stamps;

/// Fewest transactions from which a round's mean says anything.
const MIN_TRANSACTIONS: u64 = 50;
/// More of `path_cost`'s datagrams than this part were not there when the send call returned, and
/// the round tells more of who carried them on than of the path.
const MAX_LATE: f64 = 0.05;
/// A round may overrun by this (a datagram that is lost at the very end is waited for 1 s).
const OVERRUN: Duration = Duration::from_millis(1_200);

/// A round while it runs.
#[derive(Debug)]
pub(super) struct Round {
    /// Its number in the job; `None` for one that calibrates, of which nothing is kept.
    pub(super) number: Option<u32>,
    pub(super) length: Duration,
    /// Fewest transactions from which its figures say anything.
    pub(super) least: u64,
    /// The probe's, in a round with it.
    pub(super) stamps: Option<Stamps>,
    interval: Interval,
    from_ns: Option<u64>,
    until_ns: Option<u64>,
    /// Payload that was acknowledged, or came; of datagrams what was sent.
    pub(super) bytes: u64,
    /// Datagrams that were sent (`udp_stream`).
    pub(super) sent: Option<u64>,
    /// Requests without an answer.
    pub(super) lost: u64,
    /// Datagrams that were not there when the send call returned (`path_cost`).
    pub(super) late: u64,
    /// One value for each transaction; `None` for streams.
    pub(super) rtt: Option<Histogram>,
}

impl Round {
    pub(super) fn new(
        length: Duration,
        transactions: bool,
        stamps: Option<Stamps>,
        interval: Interval,
    ) -> Self {
        Self {
            number: None,
            length,
            least: MIN_TRANSACTIONS,
            stamps,
            interval,
            from_ns: None,
            until_ns: None,
            bytes: 0,
            sent: None,
            lost: 0,
            late: 0,
            rtt: transactions.then(|| Histogram::new(USER_SUB_BITS)),
        }
    }

    /// The measured time begins: what is sent from now on counts. Returns its end.
    pub(super) fn open(&mut self) -> Result<u64, TrafficError> {
        self.begin()?;
        Ok(self.began(now_ns()))
    }

    /// Its first half: the processors' time and the probe count from now on.
    pub(super) fn begin(&mut self) -> Result<(), TrafficError> {
        self.interval.begin()?;
        if let Some(stamps) = &self.stamps {
            stamps.mark(true);
        }
        Ok(())
    }

    /// Its second half: what came or was sent since that time counts. Returns the end.
    pub(super) fn began(&mut self, from_ns: u64) -> u64 {
        self.from_ns = Some(from_ns);
        from_ns + self.length.as_nanos() as u64
    }

    /// The measured time is over, but what is under way still counts for the probe. Doing so
    /// twice changes nothing.
    pub(super) fn measured(&mut self) {
        if self.from_ns.is_some() && self.until_ns.is_none() {
            self.until_ns = Some(now_ns());
            self.interval.end();
        }
    }

    /// Nothing is under way any more. Doing so twice changes nothing.
    pub(super) fn close(&mut self) {
        self.measured();
        if let Some(stamps) = &self.stamps {
            stamps.mark(false);
        }
    }

    /// The round as it travels; `failed` is why it broke off.
    pub(super) fn side(&mut self, failed: Option<&TrafficError>) -> RoundSide {
        self.close();
        let took = self
            .from_ns
            .zip(self.until_ns)
            .map_or(0, |(from, until)| until - from);
        let took = Duration::from_nanos(took);
        let used = self.interval.used();
        let transactions = self.rtt.as_ref().map(Histogram::count);
        let invalid_reason = match failed {
            Some(error) => Some(error.to_string()),
            None => self.invalid(took, transactions),
        };
        RoundSide {
            seconds: took.as_secs_f64(),
            bytes: self.bytes,
            transactions: transactions.unwrap_or(0),
            lost: self.lost,
            sent: self.sent,
            arrived: None,
            rtt: self.rtt.as_ref().map(Histogram::to_times),
            cpu_busy_seconds: used.map(|used| used.busy_seconds),
            cpu_tasks_seconds: used.map(|used| used.tasks_seconds),
            cpu_own_seconds: used.map(|used| used.own_seconds),
            cpu_steal_seconds: used.map(|used| used.steal_seconds),
            invalid_reason,
            disturbed: used
                .and_then(|used| used.disturbance(took.as_secs_f64()))
                .or_else(|| self.carried_on_elsewhere()),
        }
    }

    /// What is wrong with a round that did not break off.
    fn invalid(&self, took: Duration, transactions: Option<u64>) -> Option<String> {
        let (took, asked) = (took.as_secs_f64(), self.length.as_secs_f64());
        if took > asked * 1.1 + OVERRUN.as_secs_f64() {
            return Some(format!(
                "the round took {took:.2} s instead of {asked:.2} s"
            ));
        }
        let Some(transactions) = transactions else {
            return (self.bytes == 0).then(|| "no byte got through".to_owned());
        };
        let least = self.least;
        (transactions < least).then(|| {
            format!("only {transactions} transactions; {least} are needed, take longer rounds")
        })
    }

    /// That somebody else's work came in between (`path_cost`).
    fn carried_on_elsewhere(&self) -> Option<String> {
        let transactions = self.rtt.as_ref().map_or(0, Histogram::count);
        (self.late as f64 > MAX_LATE * transactions as f64).then(|| {
            format!(
                "{} of {transactions} datagrams were not there when the send call returned: \
                 another thread or CPU carried them on",
                self.late
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_says_what_is_wrong_with_it() {
        let second = Duration::from_secs(1);
        let round = || Round::new(second, true, None, Interval::default());
        let reason = |took, transactions| round().invalid(took, transactions).unwrap_or_default();
        assert_eq!(reason(second, Some(50)), "");
        assert!(reason(second * 3, Some(50)).contains("3.00 s instead of 1.00 s"));
        assert!(reason(second, Some(49)).starts_with("only 49"));
        assert!(reason(second, None).contains("no byte"));
        let disturbed = |late| {
            let mut round = Round { late, ..round() };
            round.rtt.as_mut().unwrap().record_n(1_000, 100);
            round.side(None).disturbed.unwrap_or_default()
        };
        assert_eq!(disturbed(5), "");
        assert!(disturbed(6).starts_with("6 of 100"));
    }

    #[test]
    fn a_round_that_never_opened_measured_nothing() {
        let mut round = Round::new(Duration::from_secs(1), true, None, Interval::default());
        let side = round.side(Some(&TrafficError::WrongAnswer));
        assert_eq!((side.seconds, side.transactions), (0.0, 0));
        assert_eq!(side.cpu_busy_seconds, None);
        assert!(side.invalid_reason.is_some());
    }
}
