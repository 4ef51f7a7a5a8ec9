//! A histogram that its thread fills while others read it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nettoll_core::{
    api::Times,
    histogram::{USER_SUB_BITS, buckets, index, upper_bound},
};

/// Times of one thread, readable from any other at any moment.
///
/// There is one writer, so adding is a plain load and store: neither a lock nor a locked
/// instruction, as in [`nettoll_core::histogram::Histogram`] with the same layout. A reader
/// who comes in the middle of a record may miss it in one figure and see it in another; at a
/// round's marks the writer is idle.
#[derive(Debug)]
pub(crate) struct Recorder {
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self {
            counts: (0..buckets(USER_SUB_BITS))
                .map(|_| AtomicU64::new(0))
                .collect(),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }

    /// Adds a time. To be called by one thread at a time.
    #[inline]
    pub(super) fn record(&self, ns: u64) {
        if let Some(count) = self.counts.get(index(USER_SUB_BITS, ns)) {
            add(count, 1);
        }
        add(&self.sum, ns);
        if ns > self.max.load(Relaxed) {
            self.max.store(ns, Relaxed);
        }
    }

    /// All times so far.
    pub(crate) fn times(&self) -> Times {
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Relaxed))
            .enumerate();
        let histogram: Vec<_> = counts
            .filter(|&(_, count)| count > 0)
            .map(|(index, count)| (upper_bound(USER_SUB_BITS, index), count))
            .collect();
        Times {
            count: histogram.iter().map(|&(_, count)| count).sum(),
            sum_ns: self.sum.load(Relaxed),
            max_ns: self.max.load(Relaxed),
            histogram,
        }
    }
}

/// Adds to a counter that only the calling thread writes.
#[inline]
pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use nettoll_core::histogram::Histogram;

    #[test]
    fn it_counts_as_a_histogram_does() {
        let (recorder, mut histogram) = (Recorder::new(), Histogram::new(USER_SUB_BITS));
        for value in [
            0,
            1,
            255,
            256,
            257,
            1_000_003,
            1_000_003,
            u64::from(u32::MAX),
        ] {
            recorder.record(value);
            histogram.record(value);
        }
        assert_eq!(recorder.times(), histogram.to_times());
        assert_eq!(Recorder::new().times(), Times::default());
    }
}
