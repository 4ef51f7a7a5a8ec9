//! The same page in all formats; protobuf is read back by a decoder that is not ours.

use prost::Message;

use super::*;

/// The part of `client_model`'s `metrics.proto` that pages have.
#[derive(Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Value>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Value>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Message)]
struct Value {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    positive_delta: Vec<i64>,
}

#[derive(Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
}

#[derive(Message)]
struct BucketSpan {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

/// One family of each kind, one without series, and values that need care.
fn page(format: Format) -> Vec<u8> {
    static BOUNDS: [u64; 3] = [1_000, 100_000, 1_000_000_000];
    let mut page = Page::new(format);
    let mut requests = page.family("requests_total", Kind::Counter, "Requests made");
    requests.add(&[("path", "pod-to-pod"), ("zone", "a\"b")], 1e6);
    requests.add(&[("path", "loopback"), ("zone", "")], 0.0);
    page.family("nothing", Kind::Gauge, "No series");
    page.single("ratio", Kind::Gauge, "A ratio", 0.125);
    let mut times = Buckets::new(&BOUNDS);
    times.add(
        [(0, 1), (900, 2), (1_000_000_000, 3), (5_000_000_000, 4)],
        23e9,
    );
    let mut family = page.family("rtt_seconds", Kind::Histogram, "Times");
    family.add_times(&[("path", "loopback")], &times);
    family.add_times(&[], &Buckets::new(&BOUNDS));
    page.finish()
}

fn text(format: Format) -> String {
    String::from_utf8(page(format)).unwrap()
}

const SERIES: [&str; 4] = [
    "requests_total{path=\"pod-to-pod\",zone=\"a\\\"b\"} 1000000\n\
     requests_total{path=\"loopback\",zone=\"\"} 0\n",
    "# HELP ratio A ratio\n# TYPE ratio gauge\nratio 0.125\n",
    "# HELP rtt_seconds Times\n# TYPE rtt_seconds histogram\n\
     rtt_seconds_bucket{path=\"loopback\",le=\"1e-06\"} 3\n\
     rtt_seconds_bucket{path=\"loopback\",le=\"0.0001\"} 3\n\
     rtt_seconds_bucket{path=\"loopback\",le=\"1.0\"} 6\n\
     rtt_seconds_bucket{path=\"loopback\",le=\"+Inf\"} 10\n\
     rtt_seconds_sum{path=\"loopback\"} 23\n\
     rtt_seconds_count{path=\"loopback\"} 10\n",
    "rtt_seconds_bucket{le=\"1e-06\"} 0\nrtt_seconds_bucket{le=\"0.0001\"} 0\n\
     rtt_seconds_bucket{le=\"1.0\"} 0\nrtt_seconds_bucket{le=\"+Inf\"} 0\n\
     rtt_seconds_sum 0\nrtt_seconds_count 0\n",
];

#[test]
fn text_names_a_counter_as_its_series() {
    let head = "# HELP requests_total Requests made\n# TYPE requests_total counter\n";
    assert_eq!(text(Format::Text), head.to_owned() + &SERIES.concat());
}

#[test]
fn openmetrics_names_a_counter_without_its_suffix_and_ends() {
    let head = "# HELP requests Requests made\n# TYPE requests counter\n";
    let expected = head.to_owned() + &SERIES.concat() + "# EOF\n";
    assert_eq!(text(Format::OpenMetrics), expected);
}

#[test]
fn an_empty_page_is_well_formed() {
    assert_eq!(Page::new(Format::Text).finish(), b"");
    assert_eq!(Page::new(Format::OpenMetrics).finish(), b"# EOF\n");
    assert_eq!(Page::new(Format::Protobuf).finish(), b"");
}

#[test]
fn protobuf_says_the_same_and_has_native_histograms() {
    let bytes = page(Format::Protobuf);
    let mut rest = bytes.as_slice();
    let mut families = Vec::new();
    while !rest.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut rest).unwrap());
    }
    let [requests, ratio, rtt] = families.as_slice() else {
        panic!("{families:?}")
    };
    assert_eq!(
        (requests.name.as_str(), requests.kind),
        ("requests_total", 0)
    );
    assert_eq!(requests.help, "Requests made");
    let [first, second] = requests.metric.as_slice() else {
        panic!("{requests:?}")
    };
    let labels: Vec<_> = (first.label.iter())
        .map(|label| (label.name.as_str(), label.value.as_str()))
        .collect();
    assert_eq!(labels, [("path", "pod-to-pod"), ("zone", "a\"b")]);
    assert_eq!(first.counter.as_ref().map(|one| one.value), Some(1e6));
    assert_eq!(second.counter.as_ref().map(|one| one.value), Some(0.0));
    assert_eq!((ratio.name.as_str(), ratio.kind), ("ratio", 1));
    assert_eq!(
        ratio.metric[0].gauge.as_ref().map(|one| one.value),
        Some(0.125)
    );

    assert_eq!((rtt.name.as_str(), rtt.kind), ("rtt_seconds", 4));
    let times = rtt.metric[0].histogram.as_ref().unwrap();
    assert_eq!((times.sample_count, times.sample_sum), (10, 23.0));
    let classic: Vec<_> = (times.bucket.iter())
        .map(|bucket| (bucket.upper_bound, bucket.cumulative_count))
        .collect();
    assert_eq!(
        classic,
        [(1e-6, 3), (1e-4, 3), (1.0, 6), (f64::INFINITY, 10)]
    );
    assert_eq!((times.schema, times.zero_count), (3, 1));
    assert!(times.zero_threshold > 0.0);
    // 900 ns, 1 s, and 5 s by themselves: log2(9e-7) · 8 = −160.7, log2(5) · 8 = 18.6.
    let spans: Vec<_> = (times.positive_span.iter())
        .map(|span| (span.offset, span.length))
        .collect();
    assert_eq!(spans, [(-160, 1), (159, 1), (18, 1)]);
    assert_eq!(times.positive_delta, [2, 1, 1]);
    // Without times it is native all the same, and stays the same series later.
    let none = rtt.metric[1].histogram.as_ref().unwrap();
    assert!(none.positive_span.is_empty() && none.zero_threshold > 0.0);
}

#[test]
fn neighbouring_native_buckets_are_one_span() {
    static BOUNDS: [u64; 1] = [1_000];
    let mut times = Buckets::new(&BOUNDS);
    // 2^(0/8), 2^(1/8) and 2^(2/8) seconds.
    times.add(
        [(1_000_000_000, 9), (1_090_000_000, 4), (1_180_000_000, 6)],
        0.0,
    );
    let mut page = Page::new(Format::Protobuf);
    page.family("x", Kind::Histogram, "").add_times(&[], &times);
    let family = MetricFamily::decode_length_delimited(page.finish().as_slice()).unwrap();
    let times = family.metric[0].histogram.as_ref().unwrap();
    assert_eq!(
        (times.positive_span[0].offset, times.positive_span[0].length),
        (0, 3)
    );
    assert_eq!(times.positive_delta, [9, -5, 2]);
}
