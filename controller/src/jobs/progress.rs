//! How far a job is, and how long it will take.

use std::{
    ops::AddAssign,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use nettoll_core::api::JobEvent;

/// What a round takes beyond its traffic until one has been seen: some ten requests, attaching
/// and detaching the probe.
const TYPICAL_ROUND_SECONDS: f64 = 0.05;
/// What reading a run's results takes until it has been seen: symbolising its stacks, and the
/// calibration slice.
const TYPICAL_READING_SECONDS: f64 = 0.5;

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Extent {
    /// Runs, each of which is read at its end.
    pub(super) runs: u32,
    /// Rounds of all runs.
    pub(super) rounds: u32,
    /// Traffic of all rounds, warm-up included.
    pub(super) seconds: f64,
}

impl AddAssign for Extent {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.rounds += other.rounds;
        self.seconds += other.seconds;
    }
}

/// Shared by the job and by who tells of it.
#[derive(Debug)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    begun: Instant,
    label: String,
    all: Extent,
    done: Extent,
    /// Time spent before the first run.
    before: f64,
    /// Time spent in reading.
    reading: f64,
    /// When the last round or reading ended, in seconds since `begun`.
    until_last: f64,
}

impl Progress {
    /// Nothing is done yet.
    pub(super) fn new(all: Extent) -> Self {
        Self(Mutex::new(State {
            begun: Instant::now(),
            label: "asking the agents".to_owned(),
            all,
            done: Extent::default(),
            before: 0.0,
            reading: 0.0,
            until_last: 0.0,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something else begins.
    pub(super) fn label(&self, label: String) {
        self.state().label = label;
    }

    /// The agents have answered, and so much is to be done with them.
    pub(super) fn begin(&self, all: Extent) {
        let mut state = self.state();
        state.all = all;
        state.before = state.begun.elapsed().as_secs_f64();
        state.until_last = state.before;
    }

    /// So much is to be done besides.
    pub(super) fn add(&self, more: Extent) {
        self.state().all += more;
    }

    /// A round with so much traffic will not be run.
    pub(super) fn leave_out(&self, seconds: f64) {
        let all = &mut self.state().all;
        all.rounds = all.rounds.saturating_sub(1);
        all.seconds -= seconds;
    }

    /// A round with so much traffic is done.
    pub(super) fn round_done(&self, seconds: f64) {
        let mut state = self.state();
        state.done.rounds += 1;
        state.done.seconds += seconds;
        state.until_last = state.begun.elapsed().as_secs_f64();
    }

    /// A run has been read.
    pub(super) fn run_read(&self) {
        let mut state = self.state();
        let now = state.begun.elapsed().as_secs_f64();
        state.done.runs += 1;
        state.reading += now - state.until_last;
        state.until_last = now;
    }

    /// The stream's first line.
    pub(super) fn planned(&self) -> JobEvent {
        let state = self.state();
        JobEvent::Planned {
            rounds: state.all.rounds,
            seconds: state.left(0.0),
        }
    }

    /// As it is now.
    pub(super) fn event(&self) -> JobEvent {
        let state = self.state();
        JobEvent::Progress {
            done: state.done.rounds,
            rounds: state.all.rounds,
            label: state.label.clone(),
            seconds_left: state.left(state.begun.elapsed().as_secs_f64()),
        }
    }
}

impl State {
    /// The traffic that is left, what the rounds so far took beyond theirs for each round, and
    /// what reading took for each run.
    fn left(&self, now: f64) -> f64 {
        let mean = |sum: f64, count: u32, typical: f64| {
            if count == 0 {
                typical
            } else {
                (sum / f64::from(count)).max(0.0)
            }
        };
        let Self { all, done, .. } = self;
        let beyond = self.until_last - self.before - done.seconds - self.reading;
        let rounds = f64::from(all.rounds.saturating_sub(done.rounds))
            * mean(beyond, done.rounds, TYPICAL_ROUND_SECONDS);
        let reading = f64::from(all.runs.saturating_sub(done.runs))
            * mean(self.reading, done.runs, TYPICAL_READING_SECONDS);
        let left = all.seconds - done.seconds + rounds + reading;
        (left - (now - self.until_last)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_what_was_seen() {
        let progress = Progress::new(Extent {
            runs: 2,
            rounds: 10,
            seconds: 20.0,
        });
        let mut state = progress.state();
        assert_eq!(state.left(0.0), 20.0 + 0.5 + 1.0);
        // Two rounds of 2 s took 3 s each: eight times 3 s are left, 1 s of which is over.
        state.done = Extent {
            runs: 0,
            rounds: 2,
            seconds: 4.0,
        };
        (state.before, state.until_last) = (1.0, 7.0);
        assert_eq!(state.left(8.0), 24.0 + 1.0 - 1.0);
        // Reading one run took 3 s.
        state.done.runs = 1;
        (state.reading, state.until_last) = (3.0, 10.0);
        assert_eq!(state.left(10.0), 24.0 + 3.0);
        assert_eq!(state.left(1e6), 0.0);
    }
}
