//! How far a job is, on standard error: one line that rewrites itself on a terminal, a line
//! now and then elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use nettoll_core::{api::JobEvent, matrix::Pace};

use crate::terminal;

/// Without a terminal a line is written when this much time has passed since the last.
const QUIET: Duration = Duration::from_secs(10);

/// Tells the user how far a job is.
pub(crate) struct Progress {
    /// The terminal's columns, `None` where standard error is none.
    columns: Option<usize>,
    last: Option<Instant>,
    line_open: bool,
    part: Option<Part>,
}

/// A job that is one of many.
struct Part {
    /// `cell 3 of 12`.
    name: String,
    /// What the jobs before took.
    pace: Pace,
    /// How many runs this job has, and how many the later ones.
    runs: u32,
    later: u32,
    /// How long the later ones take.
    later_seconds: f64,
}

impl Progress {
    /// On this process's standard error.
    pub(crate) fn new() -> Self {
        let columns = io::stderr().is_terminal().then(terminal::columns);
        Self {
            columns,
            last: None,
            line_open: false,
            part: None,
        }
    }

    /// The next job is one of many: it has so many runs, and the later ones have so many.
    pub(crate) fn part(&mut self, name: String, pace: Pace, runs: u32, later: u32) {
        self.part = Some(Part {
            name,
            pace,
            runs,
            later,
            later_seconds: 0.0,
        });
    }

    /// Shows an event. Nobody reads it? Then nobody misses it: errors of writing are dropped.
    pub(crate) fn event(&mut self, event: &JobEvent) {
        match event {
            JobEvent::Planned { rounds, seconds } => match &mut self.part {
                Some(part) => {
                    let of_one = seconds / f64::from(part.runs.max(1));
                    part.later_seconds = part.pace.seconds(part.later, of_one);
                }
                None => self.message(&format!("{rounds} rounds, about {}", duration(*seconds))),
            },
            JobEvent::Progress {
                done,
                rounds,
                label,
                seconds_left,
            } => {
                let (mut label, mut left) = (label.clone(), *seconds_left);
                if let Some(part) = &self.part {
                    label = format!("{}, {label}", part.name);
                    left += part.later_seconds;
                }
                self.step(*done, *rounds, &label, left);
            }
            JobEvent::Warning { message } => self.message(&format!("warning: {message}")),
            JobEvent::Done(_) | JobEvent::Failed { .. } => {}
        }
    }

    /// Removes the line that rewrites itself.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.line_open) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    /// Tells the user something where no line rewrites itself.
    pub(crate) fn line(&mut self, text: &str) {
        if self.columns.is_none() {
            self.message(text);
        }
    }

    /// Tells the user something.
    pub(crate) fn message(&mut self, text: &str) {
        self.clear();
        let _ = writeln!(io::stderr(), "nettoll: {text}");
    }

    fn step(&mut self, done: u32, rounds: u32, label: &str, seconds_left: f64) {
        if let Some(columns) = self.columns {
            // One column stays free: some terminals wrap when the last one is written.
            let text = line(done, rounds, label, seconds_left, columns.saturating_sub(1));
            let _ = write!(io::stderr(), "\r{text}\x1b[K");
            self.line_open = true;
        } else if self.last.is_none_or(|last| last.elapsed() >= QUIET) {
            self.last = Some(Instant::now());
            self.message(&format!(
                "{done}/{rounds} rounds, {label}, {} left",
                duration(seconds_left)
            ));
        }
    }
}

/// `━━━━━─────  12/240  tcp_rr pod-to-pod (vxlan)  1 min 20 s left`, cut to the columns.
fn line(done: u32, rounds: u32, label: &str, seconds_left: f64, columns: usize) -> String {
    const BAR: usize = 20;
    let part = f64::from(done) / f64::from(rounds.max(1));
    let full = ((part * BAR as f64) as usize).min(BAR);
    let digits = rounds.to_string().len();
    let text = format!(
        "{}{}  {done:>digits$}/{rounds}  {} left  {label}",
        "━".repeat(full),
        "─".repeat(BAR - full),
        duration(seconds_left),
    );
    text.chars().take(columns).collect()
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).ceil() as u64;
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds:02} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_fits_and_tells_the_rest() {
        let text = line(60, 240, "tcp_rr pod-to-pod (vxlan)", 79.2, 79);
        assert_eq!(
            text,
            "━━━━━───────────────   60/240  1 min 20 s left  tcp_rr pod-to-pod (vxlan)"
        );
        assert_eq!(
            line(240, 240, &"x".repeat(200), 0.0, 79).chars().count(),
            79
        );
        assert_eq!(
            line(0, 0, "", 0.4, 79),
            format!("{}  0/0  1 s left  ", "─".repeat(20))
        );
    }
}
