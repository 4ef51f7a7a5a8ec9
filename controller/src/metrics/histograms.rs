//! One histogram for each set of labels.

use nettoll_core::exposition::{Buckets, Kind, Label, Page};

use super::capped::Capped;

/// Most sets of labels of one histogram.
pub(super) const MAX_SETS: usize = 800;

/// A series' labels.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A family, all with the same bounds.
#[derive(Debug)]
pub(super) struct Histograms {
    name: &'static str,
    help: &'static str,
    bounds_ns: &'static [u64],
    sets: Capped<Labels, Buckets>,
}

impl Histograms {
    pub(super) fn new(name: &'static str, help: &'static str, bounds_ns: &'static [u64]) -> Self {
        Self {
            name,
            help,
            bounds_ns,
            sets: Capped::new(MAX_SETS),
        }
    }

    /// Adds `(upper_bound_ns, count)` buckets whose values have this mean.
    pub(super) fn add(
        &mut self,
        labels: Labels,
        buckets: impl Iterator<Item = (u64, u64)> + Clone,
        mean_ns: f64,
    ) {
        let bounds_ns = self.bounds_ns;
        if let Some(times) = self.sets.entry(labels, || Buckets::new(bounds_ns)) {
            let count: u64 = buckets.clone().map(|(_, count)| count).sum();
            times.add(buckets, count as f64 * mean_ns);
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let mut family = page.family(self.name, Kind::Histogram, self.help);
        for (labels, times) in self.sets.iter() {
            let labels: Vec<Label<'_>> = labels
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            family.add_times(&labels, times);
        }
    }

    /// Additions that were left out.
    pub(super) fn left_out(&self) -> u64 {
        self.sets.left_out()
    }
}
