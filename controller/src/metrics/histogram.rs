//! Classic histograms for Prometheus, filled from finished runs' own histograms.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter},
};

/// Bounds of round-trip times in ns: 10 µs to 1 s in steps 1-2-5.
pub(super) const RTT_BOUNDS_NS: [u64; 16] = [
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
];

/// Bounds of stages in ns: 100 ns to 100 ms in steps 1-3-10.
pub(super) const STAGE_BOUNDS_NS: [u64; 13] = [
    100,
    300,
    1_000,
    3_000,
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
];

/// Most sets of labels of one histogram. What comes beyond is left out and counted.
const MAX_SETS: usize = 800;

/// A series' labels.
pub(super) type Labels = Vec<(&'static str, String)>;

/// One histogram per set of labels, all with the same bounds.
#[derive(Debug)]
pub(super) struct Histograms {
    name: &'static str,
    help: &'static str,
    bounds_ns: &'static [u64],
    series: Mutex<BTreeMap<Labels, Series>>,
    /// Calls of [`Self::add`] that were left out.
    left_out: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Series {
    /// One for each bound, and one beyond the last; not cumulated.
    counts: Vec<u64>,
    sum_seconds: f64,
}

impl Histograms {
    pub(super) fn new(name: &'static str, help: &'static str, bounds_ns: &'static [u64]) -> Self {
        Self {
            name,
            help,
            bounds_ns,
            series: Mutex::default(),
            left_out: AtomicU64::new(0),
        }
    }

    /// Adds `[upper_bound_ns, count]` buckets whose values have this mean.
    ///
    /// A bucket that lies across a bound is counted above it, so a series may show a value up to
    /// one of its own buckets too high, never too low.
    pub(super) fn add(&self, labels: Labels, buckets: &[(u64, u64)], mean_ns: f64) {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_SETS && !all.contains_key(&labels) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let series = all.entry(labels).or_default();
        series.counts.resize(self.bounds_ns.len() + 1, 0);
        for &(upper, count) in buckets {
            let bucket = self.bounds_ns.partition_point(|&bound| bound < upper);
            if let Some(sum) = series.counts.get_mut(bucket) {
                *sum += count;
            }
            series.sum_seconds += count as f64 * mean_ns / 1e9;
        }
    }
}

impl Collector for Histograms {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let series = self
            .series
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if series.is_empty() {
            return Ok(());
        }
        let mut family =
            encoder.encode_descriptor(self.name, self.help, None, MetricType::Histogram)?;
        let bounds = self
            .bounds_ns
            .iter()
            .map(|&ns| ns as f64 / 1e9)
            .chain([f64::INFINITY]);
        for (
            labels,
            Series {
                counts,
                sum_seconds,
            },
        ) in &series
        {
            let buckets: Vec<_> = bounds.clone().zip(counts.iter().copied()).collect();
            let count = counts.iter().sum();
            family
                .encode_family(labels)?
                .encode_histogram::<NoLabelSet>(*sum_seconds, count, &buckets, None)?;
        }
        let name = format!("{}_left_out", self.name.trim_end_matches("_seconds"));
        let help = "Additions to the histogram that had too many sets of labels";
        let left_out = ConstCounter::new(self.left_out.load(Ordering::Relaxed));
        let family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        left_out.encode(family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_labels_have_an_end() {
        let histograms = Histograms::new("x_seconds", "X.", &RTT_BOUNDS_NS);
        for number in 0..MAX_SETS + 7 {
            let labels = vec![("zone", number.to_string())];
            histograms.add(labels, &[(10_000, 1)], 1_000.0);
        }
        histograms.add(vec![("zone", "0".to_owned())], &[(10_000, 1)], 1_000.0);
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(histograms));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("x_left_out_total 7\n"), "{text}");
        assert_eq!(text.matches("x_seconds_count").count(), MAX_SETS);
    }

    #[test]
    fn buckets_go_below_the_first_bound_that_holds_them_whole() {
        let histograms = Histograms::new("x_seconds", "X.", &RTT_BOUNDS_NS);
        let labels = vec![("path", "loopback".to_owned())];
        // Exactly on a bound, across it, and beyond all bounds.
        let buckets = [(10_000, 2), (10_047, 3), (2_000_000_000, 1)];
        histograms.add(labels.clone(), &buckets, 1_000.0);
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(histograms));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let of = |le: &str| format!("x_seconds_bucket{{le=\"{le}\",path=\"loopback\"}}");
        for line in [
            format!("{} 2\n", of("0.00001")),
            format!("{} 5\n", of("0.00002")),
            format!("{} 5\n", of("1.0")),
            format!("{} 6\n", of("+Inf")),
            "x_seconds_count{path=\"loopback\"} 6\n".to_owned(),
        ] {
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
