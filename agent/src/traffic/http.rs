//! `http_rr`: what a request over HTTP waits for, as a program in the pod would make it.
//!
//! Requests are due at a fixed rate, whatever became of those before, and each has a connection of
//! its own: name lookup, connect, TLS, request, first byte. Its time counts from when it was due.
//! They are made inside the client's network namespace, by its addresses, routes and policies, and
//! with the name servers of its own `resolv.conf`. Redirects are not followed, and of an answer's
//! body a little is read and nothing kept.

mod dns;
mod exchange;
mod resolver;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nettoll_core::{
    api::UserStage,
    hop::{Direction, Side},
    report::Http,
    url::HttpUrl,
};

use self::exchange::Answer;
pub(crate) use self::{exchange::Target, resolver::Resolver};
use super::{Seen, Stop, TrafficError, client::Generator, round::Round};

/// Time between two requests.
const PERIOD: Duration = Duration::from_millis(50);
/// After this time a request is lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most requests under way at once: as many as are due within half of [`PATIENCE`].
const WORKERS: usize = 20;
/// Fewest answers of a good round.
const MIN_ANSWERS: u64 = 1;

/// The client of `http_rr`.
pub(super) struct HttpRr {
    target: Arc<Target>,
    url: HttpUrl,
    stop: Stop,
    /// As [`Answer::stages`].
    seen: [Seen; 4],
    /// What answered so far, read from elsewhere too.
    http: Arc<Mutex<Http>>,
}

impl fmt::Debug for HttpRr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRr")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl HttpRr {
    pub(super) fn new(target: Target, stop: &Stop) -> Self {
        let seen = |stage| Seen::new(stage, Side::Client, Direction::Both);
        Self {
            url: target.url().clone(),
            target: Arc::new(target),
            stop: stop.clone(),
            seen: [
                UserStage::NameLookup,
                UserStage::Connect,
                UserStage::Tls,
                UserStage::FirstByte,
            ]
            .map(seen),
            http: Arc::default(),
        }
    }

    /// What answered so far.
    pub(super) fn http(&self) -> Arc<Mutex<Http>> {
        Arc::clone(&self.http)
    }

    /// Takes in what came of a request that was due at that time.
    fn take(&self, round: &mut Round, due: Instant, outcome: Result<Answer, String>) {
        let mut http = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match outcome {
            Ok(answer) => answer,
            Err(reason) => {
                round.lost += 1;
                http.failure = Some(reason);
                return;
            }
        };
        *http.statuses.entry(answer.status).or_default() += 1;
        http.address = Some(answer.address);
        http.tls = answer.tls;
        for (seen, time) in self.seen.iter().zip(answer.stages) {
            if let Some(time) = time {
                seen.record(nanoseconds(time));
            }
        }
        if let Some(rtt) = &mut round.rtt {
            rtt.record(nanoseconds(answer.at - due));
        }
        round.bytes += answer.bytes;
    }
}

impl Generator for HttpRr {
    /// One request that does not count: what is wrong with all of them is told at once.
    fn start(&mut self) -> Result<(), TrafficError> {
        let asked = self.target.ask(Instant::now() + PATIENCE, &self.stop);
        match asked {
            Ok(_) => Ok(()),
            Err(_) if self.stop.stopped() => Err(TrafficError::Stopped),
            Err(reason) => Err(TrafficError::Http(self.url.to_string(), reason)),
        }
    }

    fn round(&mut self, round: &mut Round) -> Result<(), TrafficError> {
        round.least = MIN_ANSWERS;
        let length = round.length;
        round.open()?;
        let begin = Instant::now();
        let requests = (length.as_nanos() / PERIOD.as_nanos()).max(1) as u64;
        let (next, outcomes) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests || self.stop.ended() {
                    return;
                }
                let due = begin + PERIOD * number as u32;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let outcome = self.target.ask(Instant::now() + PATIENCE, &self.stop);
                let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                outcomes.push((due, outcome));
            }
        };
        // Threads begin in the network namespace of the one that starts them, without capabilities
        // where it has none.
        thread::scope(|scope| {
            for _ in 0..WORKERS.min(requests as usize) {
                let started = thread::Builder::new()
                    .name("nettoll-client".to_owned())
                    .spawn_scoped(scope, work);
                started.map_err(TrafficError::Thread)?;
            }
            thread::sleep((begin + length).saturating_duration_since(Instant::now()));
            // What is under way still counts, but not its time.
            round.measured();
            Ok(())
        })?;
        if self.stop.stopped() {
            return Err(TrafficError::Stopped);
        }
        let outcomes = outcomes
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        for (due, outcome) in outcomes {
            self.take(round, due, outcome);
        }
        Ok(())
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.to_vec()
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
