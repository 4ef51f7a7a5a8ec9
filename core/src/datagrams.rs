//! What becomes of a stream of numbered datagrams, as their receiver counts it.

use serde::{Deserialize, Serialize};

/// A datagram that comes later than so many after it were there counts as late, although it may be a
/// duplicate.
const WINDOW: u64 = 4_096;
const WORDS: usize = (WINDOW / 64) as usize;
/// The gain of the estimator of RFC 3550, section 6.4.1.
const GAIN: f64 = 1.0 / 16.0;

/// What arrived of a round of `udp_stream`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrived {
    /// Datagrams, each once.
    pub datagrams: u64,
    /// Their payload.
    pub bytes: u64,
    /// What they took to come, by the receiver's clock: from the first to the last, and as much more as
    /// those take that the first look found.
    pub seconds: f64,
    /// Of them, those that came after one with a greater number (RFC 4737).
    pub reordered: u64,
    /// Further copies, which are not among the datagrams.
    pub duplicates: u64,
    /// The estimate of RFC 3550 at the end, ns; `null` with fewer than two.
    pub jitter_ns: Option<f64>,
    /// Those that the receiver's socket had no room for, which are among those that did not arrive;
    /// `null` where its kernel does not tell.
    #[serde(default)]
    pub without_room: Option<u64>,
}

/// Counts datagrams as they come.
#[derive(Clone, Debug)]
pub struct Arrivals {
    /// The greatest number so far, and the first that counts less one.
    highest: u64,
    /// Which of the last [`WINDOW`] numbers are there, by their remainder.
    seen: [u64; WORDS],
    datagrams: u64,
    bytes: u64,
    reordered: u64,
    duplicates: u64,
    first_ns: u64,
    /// How many came with the first one.
    with_first: u64,
    last_ns: u64,
    /// Arrival less sending of the last one; the two clocks need not agree.
    transit_ns: i64,
    jitter_ns: f64,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            highest: 0,
            seen: [0; WORDS],
            datagrams: 0,
            bytes: 0,
            reordered: 0,
            duplicates: 0,
            first_ns: 0,
            with_first: 0,
            last_ns: 0,
            transit_ns: 0,
            jitter_ns: 0.0,
        }
    }
}

impl Arrivals {
    /// A datagram with that number, from 1 on, came. Times are of two clocks, the sender's and the
    /// receiver's.
    #[inline]
    pub fn add(&mut self, number: u64, bytes: u64, sent_ns: u64, came_ns: u64) {
        if self.datagrams == 0 {
            // Those before it that never come are the sender's to count.
            self.highest = number.saturating_sub(1);
            self.first_ns = came_ns;
        }
        if number > self.highest {
            self.advance(number);
        } else if self.highest - number >= WINDOW {
            self.reordered += 1;
        } else if self.is_seen(number) {
            self.duplicates += 1;
            return;
        } else {
            self.reordered += 1;
            self.see(number);
        }
        let transit_ns = came_ns.wrapping_sub(sent_ns) as i64;
        if self.datagrams > 0 {
            let difference = transit_ns.wrapping_sub(self.transit_ns) as f64;
            self.jitter_ns += (difference.abs() - self.jitter_ns) * GAIN;
        }
        self.transit_ns = transit_ns;
        self.datagrams += 1;
        self.bytes += bytes;
        self.with_first += u64::from(came_ns == self.first_ns);
        self.last_ns = came_ns;
    }

    /// All so far.
    #[must_use]
    pub fn arrived(&self) -> Arrived {
        let between = self.last_ns.saturating_sub(self.first_ns) as f64 / 1e9;
        // What the first look found came before it, nobody knows since when.
        let timed = self.datagrams - self.with_first;
        Arrived {
            datagrams: self.datagrams,
            bytes: self.bytes,
            seconds: if timed > 0 {
                between * self.datagrams as f64 / timed as f64
            } else {
                0.0
            },
            reordered: self.reordered,
            duplicates: self.duplicates,
            jitter_ns: (self.datagrams > 1).then_some(self.jitter_ns),
            without_room: None,
        }
    }

    #[inline]
    fn advance(&mut self, number: u64) {
        if number - self.highest >= WINDOW {
            self.seen = [0; WORDS];
        } else {
            for skipped in self.highest + 1..number {
                let (word, bit) = place(skipped);
                self.seen[word] &= !bit;
            }
        }
        self.highest = number;
        self.see(number);
    }

    #[inline]
    fn see(&mut self, number: u64) {
        let (word, bit) = place(number);
        self.seen[word] |= bit;
    }

    fn is_seen(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.seen[word] & bit != 0
    }
}

#[inline]
fn place(number: u64) -> (usize, u64) {
    let place = number % WINDOW;
    ((place / 64) as usize, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = u64>) -> Arrived {
        let mut arrivals = Arrivals::default();
        for (at, number) in numbers.into_iter().enumerate() {
            arrivals.add(number, 100, number * 1_000, 1_000_000 + at as u64 * 1_000);
        }
        arrivals.arrived()
    }

    #[test]
    fn losses_copies_and_late_ones_are_told_apart() {
        let all = of(1..=1_000);
        assert_eq!((all.datagrams, all.bytes), (1_000, 100_000));
        assert_eq!((all.reordered, all.duplicates), (0, 0));
        // From the first to the last are 999 of 1,000 intervals.
        assert!((all.seconds - 1e-3).abs() < 1e-9, "{}", all.seconds);
        // Ten with each look: the first ten of them came in no time that is known.
        let mut looks = Arrivals::default();
        for number in 1..=100 {
            looks.add(number, 1, 0, (number - 1) / 10 * 1_000_000);
        }
        let seconds = looks.arrived().seconds;
        assert!((seconds - 10e-3).abs() < 1e-9, "{seconds}");
        let fewer = of((1..=1_000).filter(|number| number % 50 != 0));
        assert_eq!((fewer.datagrams, fewer.reordered), (980, 0));
        // Each of them as RFC 4737 has it: 3 and 4 come after 5, 5 comes twice.
        let mixed = of([1, 2, 5, 3, 4, 5, 6]);
        let counts = (mixed.datagrams, mixed.reordered, mixed.duplicates);
        assert_eq!(counts, (6, 2, 1));
        // Too late to tell what it is, and a number whose place was another's.
        let late = of([1, 2, 2 + WINDOW, 2, 3, 3 + WINDOW]);
        let counts = (late.datagrams, late.reordered, late.duplicates);
        assert_eq!(counts, (6, 2, 0));
        let far = of([1, 10 * WINDOW, 10 * WINDOW - 1, 10 * WINDOW - 1]);
        assert_eq!((far.datagrams, far.duplicates), (3, 1));
        assert_eq!(of([]), Arrived::default());
        assert_eq!(of([7]).jitter_ns, None);
    }

    #[test]
    fn jitter_is_that_of_rfc_3550() {
        let mut arrivals = Arrivals::default();
        // Sent each millisecond by a clock of its own, on the way for these times, µs.
        let (mut expected, mut before): (f64, Option<f64>) = (0.0, None);
        for (number, way) in (1_u64..).zip([100_u64, 130, 90, 90, 400, 100]) {
            let sent = number * 1_000_000;
            let came = sent + way * 1_000 + 77_000_000_000;
            arrivals.add(number, 1, sent, came);
            if let Some(before) = before {
                let difference = (way as f64 - before) * 1e3;
                expected += (difference.abs() - expected) / 16.0;
            }
            before = Some(way as f64);
        }
        let jitter = arrivals.arrived().jitter_ns.unwrap();
        assert!((jitter - expected).abs() < 1e-6, "{jitter} {expected}");
        // A clock that is behind is no time on the way.
        let mut behind = Arrivals::default();
        for number in 1..=3 {
            behind.add(number, 1, u64::MAX / 2 + number * 1_000, number * 1_000);
        }
        assert_eq!(behind.arrived().jitter_ns, Some(0.0));
    }
}
