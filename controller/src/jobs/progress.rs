//! How far a job is, and how long it will take.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use nettoll_core::api::JobEvent;

/// What a round takes beyond its traffic until one has been seen: attaching and detaching the
/// probe, some ten requests.
const TYPICAL_OVERHEAD_SECONDS: f64 = 0.1;

/// Shared by the job and by who tells of it.
#[derive(Debug)]
pub(super) struct Progress {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    begun: Instant,
    label: String,
    /// In all.
    rounds: u32,
    /// Traffic of all rounds, warm-up included.
    seconds: f64,
    done: u32,
    /// Traffic of the rounds that are done, warm-up included.
    seconds_done: f64,
    /// When the last round ended, in seconds since `begun`.
    until_last: f64,
}

impl Progress {
    /// Nothing is done yet of so many rounds and seconds of traffic, warm-up included.
    pub(super) fn new(rounds: u32, seconds: f64) -> Self {
        let state = State {
            begun: Instant::now(),
            label: "asking the agents".to_owned(),
            rounds,
            seconds,
            done: 0,
            seconds_done: 0.0,
            until_last: 0.0,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Something else begins.
    pub(super) fn label(&self, label: impl Into<String>) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .label = label.into();
    }

    /// It turned out that there are so many rounds and seconds of traffic.
    pub(super) fn replan(&self, rounds: u32, seconds: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.rounds, state.seconds) = (rounds, seconds);
    }

    /// Rounds with so much traffic will not be run.
    pub(super) fn leave_out(&self, rounds: u32, seconds: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rounds = state.rounds.saturating_sub(rounds);
        state.seconds -= seconds;
    }

    /// Rounds with so much traffic are done.
    pub(super) fn done(&self, rounds: u32, seconds: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done += rounds;
        state.seconds_done += seconds;
        state.until_last = state.begun.elapsed().as_secs_f64();
    }

    /// The stream's first line.
    pub(super) fn planned(&self) -> JobEvent {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        JobEvent::Planned {
            rounds: state.rounds,
            seconds: state.left(0.0),
        }
    }

    /// As it is now.
    pub(super) fn event(&self) -> JobEvent {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        JobEvent::Progress {
            done: state.done,
            rounds: state.rounds,
            label: state.label.clone(),
            seconds_left: state.left(state.begun.elapsed().as_secs_f64()),
        }
    }
}

impl State {
    /// The traffic that is left, and for each round what the rounds so far took beyond theirs.
    fn left(&self, now: f64) -> f64 {
        let overhead = if self.done == 0 {
            TYPICAL_OVERHEAD_SECONDS
        } else {
            ((self.until_last - self.seconds_done) / f64::from(self.done)).max(0.0)
        };
        let rounds = f64::from(self.rounds.saturating_sub(self.done));
        let left = self.seconds - self.seconds_done + rounds * overhead;
        (left - (now - self.until_last)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_what_rounds_took() {
        let progress = Progress::new(10, 20.0);
        let left = |now| progress.state.lock().unwrap().left(now);
        assert_eq!(left(0.0), 21.0);
        {
            // Two rounds of 2 s took 3 s each: eight times 3 s are left, 1 s of which is over.
            let mut state = progress.state.lock().unwrap();
            (state.done, state.seconds_done, state.until_last) = (2, 4.0, 6.0);
        }
        assert_eq!(left(7.0), 23.0);
        assert_eq!(left(1e6), 0.0);
    }
}
