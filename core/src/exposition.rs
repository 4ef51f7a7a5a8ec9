//! Pages of metrics, in the three forms that Prometheus and its kin read.
//!
//! A [`Page`] is written family by family, straight into bytes: a scrape of a large mesh has
//! 150,000 series, for which no tree is built. [`Format::negotiate`] says which form a client
//! asks for, and [`Buckets`] holds times as histograms have them, classic and native at once.
//!
//! | format | histograms | who asks for it |
//! |---|---|---|
//! | Prometheus text 0.0.4 | classic | whoever says nothing: people, old scrapers |
//! | OpenMetrics 1.0 text | classic | Prometheus |
//! | Prometheus protobuf | classic and native | Prometheus with native histograms |

mod accept;
mod buckets;
mod protobuf;
#[cfg(test)]
mod tests;
mod text;

pub use buckets::{Buckets, RTT_BOUNDS_NS, STAGE_BOUNDS_NS};

/// A form of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics 1.0 text.
    OpenMetrics,
    /// Prometheus' `MetricFamily` messages, each behind its length.
    Protobuf,
}

impl Format {
    /// The value of `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        }
    }
}

/// What a family's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow, until the process begins anew.
    Counter,
    /// They come and go.
    Gauge,
    /// They are distributions.
    Histogram,
}

/// A label and its value.
pub type Label<'a> = (&'a str, &'a str);

/// A page that is being written.
#[derive(Debug)]
pub struct Page {
    format: Format,
    bytes: Vec<u8>,
    family: Head,
    /// The series of `family`.
    series: Vec<u8>,
}

/// What is said of a family as a whole.
#[derive(Debug)]
struct Head {
    name: &'static str,
    kind: Kind,
    help: &'static str,
}

impl Page {
    /// Nothing yet.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            bytes: Vec::new(),
            family: Head {
                name: "",
                kind: Kind::Gauge,
                help: "",
            },
            series: Vec::new(),
        }
    }

    /// Begins a family, whose name has its unit and, for a counter, `_total` at its end. One
    /// without series is not on the page.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> Family<'_> {
        self.end_family();
        self.family = Head { name, kind, help };
        Family(self)
    }

    /// Writes a family of one series without labels.
    pub fn single(&mut self, name: &'static str, kind: Kind, help: &'static str, value: f64) {
        self.family(name, kind, help).add(&[], value);
    }

    /// The whole page.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.end_family();
        if self.format == Format::OpenMetrics {
            self.bytes.extend_from_slice(b"# EOF\n");
        }
        self.bytes
    }

    fn end_family(&mut self) {
        if self.series.is_empty() {
            return;
        }
        match self.format {
            Format::Text => text::head(&mut self.bytes, &self.family, self.family.name),
            Format::OpenMetrics => {
                let name = self.family.name;
                let name = name.strip_suffix("_total").unwrap_or(name);
                text::head(&mut self.bytes, &self.family, name);
            }
            Format::Protobuf => {
                protobuf::head(&mut self.bytes, &self.family, self.series.len());
            }
        }
        self.bytes.append(&mut self.series);
    }
}

/// A family that series are added to.
#[derive(Debug)]
pub struct Family<'a>(&'a mut Page);

impl Family<'_> {
    /// Adds a series of a counter or gauge.
    pub fn add(&mut self, labels: &[Label<'_>], value: f64) {
        let page = &mut *self.0;
        if page.format == Format::Protobuf {
            protobuf::value(&mut page.series, page.family.kind, labels, value);
        } else {
            text::value(&mut page.series, page.family.name, labels, value);
        }
    }

    /// Adds a series of a histogram.
    pub fn add_times(&mut self, labels: &[Label<'_>], times: &Buckets) {
        let page = &mut *self.0;
        if page.format == Format::Protobuf {
            protobuf::histogram(&mut page.series, labels, times);
        } else {
            text::histogram(&mut page.series, page.family.name, labels, times);
        }
    }
}
