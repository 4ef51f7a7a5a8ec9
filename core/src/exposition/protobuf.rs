//! Prometheus' own protobuf format: `io.prometheus.client.MetricFamily` messages, each behind its
//! length. The numbers are those of the fields in `client_model`'s `metrics.proto`.

use super::{Buckets, Head, Kind, Label, buckets::NATIVE_SCHEMA};
use crate::protobuf::{bytes, double, message, put_before, sint, uint};

/// Times below it count as zero. That it is there says that a histogram is native too.
const ZERO_THRESHOLD_SECONDS: f64 = 1e-12;

/// What comes before a family's series, of so many bytes.
pub(super) fn head(out: &mut Vec<u8>, head: &Head, series: usize) {
    let kind = match head.kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 4,
    };
    let begin = out.len();
    bytes(out, 1, head.name.as_bytes());
    bytes(out, 2, head.help.as_bytes());
    uint(out, 3, kind);
    let length = out.len() - begin + series;
    put_before(out, begin, length as u64);
}

/// A series of a counter or gauge.
pub(super) fn value(out: &mut Vec<u8>, kind: Kind, labels: &[Label<'_>], value: f64) {
    let field = if kind == Kind::Counter { 3 } else { 2 };
    message(out, 4, |metric| {
        put_labels(metric, labels);
        message(metric, field, |one| double(one, 1, value));
    });
}

/// A series of a histogram.
pub(super) fn histogram(out: &mut Vec<u8>, labels: &[Label<'_>], times: &Buckets) {
    message(out, 4, |metric| {
        put_labels(metric, labels);
        message(metric, 7, |histogram| put_times(histogram, times));
    });
}

fn put_labels(out: &mut Vec<u8>, labels: &[Label<'_>]) {
    for (name, value) in labels {
        message(out, 1, |label| {
            bytes(label, 1, name.as_bytes());
            bytes(label, 2, value.as_bytes());
        });
    }
}

fn put_times(out: &mut Vec<u8>, times: &Buckets) {
    let count = times.classic().map(|(_, count)| count).sum();
    uint(out, 1, count);
    double(out, 2, times.sum_seconds());
    let mut below = 0;
    for (bound, count) in times.classic() {
        below += count;
        message(out, 3, |bucket| {
            uint(bucket, 1, below);
            double(bucket, 2, bound);
        });
    }
    sint(out, 5, NATIVE_SCHEMA.into());
    double(out, 6, ZERO_THRESHOLD_SECONDS);
    uint(out, 7, times.zeros());
    // A span is how many buckets are passed over since the last one, and how many follow.
    let mut next = 0;
    let mut spans: Vec<(i32, u64)> = Vec::new();
    for (place, _) in times.native() {
        match spans.last_mut() {
            Some((_, length)) if place == next => *length += 1,
            _ => spans.push((place - next, 1)),
        }
        next = place + 1;
    }
    for (offset, length) in spans {
        message(out, 12, |span| {
            sint(span, 1, offset.into());
            uint(span, 2, length);
        });
    }
    // Each count as its difference from the one before.
    let mut before = 0;
    for (_, count) in times.native() {
        sint(out, 13, count.wrapping_sub(before) as i64);
        before = count;
    }
}
