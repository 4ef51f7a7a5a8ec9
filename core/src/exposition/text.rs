//! Both text formats, which differ in a family's name and in the page's end alone.

use std::io::Write as _;

use super::{Buckets, Head, Kind, Label};

/// What comes before a family's series; `name`: as the format has it.
pub(super) fn head(out: &mut Vec<u8>, head: &Head, name: &str) {
    let kind = match head.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    // Writing to a Vec does not fail, here and below.
    let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", head.help);
}

pub(super) fn value(out: &mut Vec<u8>, name: &str, labels: &[Label<'_>], value: f64) {
    line(out, [name, ""], labels, None, value);
}

/// Cumulated buckets, sum and count.
pub(super) fn histogram(out: &mut Vec<u8>, name: &str, labels: &[Label<'_>], times: &Buckets) {
    let mut below = 0;
    for (bound, count) in times.classic() {
        below += count;
        let bound = bound_text(bound);
        line(out, [name, "_bucket"], labels, Some(&bound), below as f64);
    }
    line(out, [name, "_sum"], labels, None, times.sum_seconds());
    line(out, [name, "_count"], labels, None, below as f64);
}

fn line(
    out: &mut Vec<u8>,
    [name, suffix]: [&str; 2],
    labels: &[Label<'_>],
    le: Option<&str>,
    value: f64,
) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    let mut before = b'{';
    for &(label, value) in labels.iter().chain(le.map(|le| ("le", le)).as_ref()) {
        out.push(before);
        before = b',';
        out.extend_from_slice(label.as_bytes());
        out.extend_from_slice(b"=\"");
        escape(out, value);
        out.push(b'"');
    }
    if before == b',' {
        out.push(b'}');
    }
    // Prometheus takes any notation of a number, and all its values are of this type.
    let _ = writeln!(out, " {value}");
}

fn escape(out: &mut Vec<u8>, value: &str) {
    for &byte in value.as_bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            other => out.push(other),
        }
    }
}

/// A bucket's bound as OpenMetrics wants it and as Prometheus itself writes it when it reads
/// protobuf, so that a series is the same in all formats: `1.0`, `0.0002`, `1e-05`, `+Inf`.
fn bound_text(bound: f64) -> String {
    if bound.is_infinite() {
        "+Inf".to_owned()
    } else if bound < 1e-4 {
        // At least two digits of exponent.
        let text = format!("{bound:e}");
        let short = text.len() >= 2 && text.as_bytes()[text.len() - 2] == b'-';
        if short { text.replace('-', "-0") } else { text }
    } else {
        // With `.0` behind a whole number.
        format!("{bound:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_prometheus_does() {
        for (bound, text) in [
            (1e-7, "1e-07"),
            (3e-6, "3e-06"),
            (2.5e-10, "2.5e-10"),
            (0.0001, "0.0001"),
            (0.002, "0.002"),
            (1.0, "1.0"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(bound_text(bound), text);
        }
    }

    #[test]
    fn values_of_labels_cannot_leave_their_quotes() {
        let mut out = Vec::new();
        value(&mut out, "x", &[("a", "\"} 1\n\\"), ("b", "ü")], 0.25);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "x{a=\"\\\"} 1\\n\\\\\",b=\"ü\"} 0.25\n");
    }
}
