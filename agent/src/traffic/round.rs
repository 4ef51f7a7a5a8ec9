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
/// More steal than this part of all CPUs' time and the round tells more of the host than of
/// the path.
const MAX_STEAL: f64 = 0.05;
/// A round may overrun by this (a datagram that is lost at the very end is waited for 1 s).
const OVERRUN: Duration = Duration::from_millis(1_200);

/// A round while it runs.
#[derive(Debug)]
pub(super) struct Round {
    length: Duration,
    /// The probe's, in a round with it.
    pub(super) stamps: Option<Stamps>,
    interval: Interval,
    from_ns: Option<u64>,
    until_ns: Option<u64>,
    /// Payload that was acknowledged.
    pub(super) bytes: u64,
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
            length,
            stamps,
            interval,
            from_ns: None,
            until_ns: None,
            bytes: 0,
            lost: 0,
            late: 0,
            rtt: transactions.then(|| Histogram::new(USER_SUB_BITS)),
        }
    }

    /// The measured time begins: what is sent from now on counts. Returns its end.
    pub(super) fn open(&mut self) -> Result<u64, TrafficError> {
        self.interval.begin()?;
        if let Some(stamps) = &self.stamps {
            stamps.mark(true);
        }
        let now = now_ns();
        self.from_ns = Some(now);
        Ok(now + self.length.as_nanos() as u64)
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
        let steal = used.map_or(0.0, |used| {
            used.steal_seconds / (took.as_secs_f64() * f64::from(used.cpus)).max(f64::MIN_POSITIVE)
        });
        let invalid_reason = if let Some(error) = failed {
            Some(error.to_string())
        } else if took > self.length.mul_f64(1.1) + OVERRUN {
            let (took, asked) = (took.as_secs_f64(), self.length.as_secs_f64());
            Some(format!(
                "the round took {took:.2} s instead of {asked:.2} s"
            ))
        } else if steal > MAX_STEAL {
            Some(format!(
                "the hypervisor took {:.0} % of the processor time",
                steal * 100.0
            ))
        } else if let Some(few) = transactions.filter(|&n| n < MIN_TRANSACTIONS) {
            Some(format!(
                "only {few} transactions; {MIN_TRANSACTIONS} are needed, take longer rounds"
            ))
        } else if transactions.is_none() && self.bytes == 0 {
            Some("no byte was acknowledged".to_owned())
        } else {
            None
        };
        RoundSide {
            seconds: took.as_secs_f64(),
            bytes: self.bytes,
            transactions: transactions.unwrap_or(0),
            lost: self.lost,
            rtt: self.rtt.as_ref().map(Histogram::to_times),
            cpu_busy_seconds: used.map(|used| used.busy_seconds),
            cpu_steal_seconds: used.map(|used| used.steal_seconds),
            invalid_reason,
        }
    }
}
