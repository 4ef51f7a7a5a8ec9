//! Which format a client asks for (RFC 9110, section 12.5.1).

use super::Format;

/// What a client takes: a part of an `Accept` header.
struct Range<'a> {
    /// `type/subtype`; either may be `*`.
    kind: &'a str,
    /// Without `q`.
    parameters: Vec<(&'a str, &'a str)>,
    /// From 0, never, to 1.
    quality: f64,
}

impl Format {
    /// In the order in which they are given to clients that take several alike.
    const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// The format that a client takes best by its `Accept` headers: text where there are none, or
    /// none that can be met, for an unwanted page helps more than none.
    pub fn negotiate<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let parts = accept.into_iter().flat_map(|header| header.split(','));
        let ranges: Vec<_> = parts.filter_map(Range::parse).collect();
        let mut best = (Self::Text, 0.0);
        for format in Self::ALL {
            let quality = format.quality(&ranges);
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }

    /// By the most specific range that it is in; 0 in none.
    fn quality(self, ranges: &[Range<'_>]) -> f64 {
        let mut best = (0, 0.0);
        for range in ranges {
            match range.specificity(self) {
                Some(specificity) if specificity > best.0 => best = (specificity, range.quality),
                _ => {}
            }
        }
        best.1
    }

    /// The type, and those parameters that tell it from others of that type.
    fn identity(self) -> (&'static str, &'static [(&'static str, &'static str)]) {
        match self {
            Self::Text => ("text/plain", &[("version", "0.0.4")]),
            Self::OpenMetrics => ("application/openmetrics-text", &[("version", "1.0.0")]),
            Self::Protobuf => (
                "application/vnd.google.protobuf",
                &[
                    ("proto", "io.prometheus.client.MetricFamily"),
                    ("encoding", "delimited"),
                ],
            ),
        }
    }
}

impl<'a> Range<'a> {
    /// `None` where it makes no sense.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().filter(|kind| kind.contains('/'))?;
        let mut range = Self {
            kind,
            parameters: Vec::new(),
            quality: 1.0,
        };
        for part in parts {
            let (name, value) = part.split_once('=')?;
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            if name.eq_ignore_ascii_case("q") {
                let quality = value.parse().ok();
                range.quality = quality.filter(|quality| (0.0..=1.0).contains(quality))?;
            } else {
                range.parameters.push((name, value));
            }
        }
        Some(range)
    }

    /// How closely this names the format, from 1; `None` where the format is not in it. Of a
    /// parameter that the format does not know, such as an escaping, nothing follows.
    fn specificity(&self, format: Format) -> Option<usize> {
        let (kind, identity) = format.identity();
        let group = kind.split_once('/').map_or("", |(group, _)| group);
        let (range_group, range_name) = self.kind.split_once('/')?;
        let base = if self.kind.eq_ignore_ascii_case(kind) {
            3
        } else if range_name == "*" && range_group.eq_ignore_ascii_case(group) {
            2
        } else if self.kind == "*/*" {
            1
        } else {
            return None;
        };
        let mut named = 0;
        for (name, value) in &self.parameters {
            let known = identity
                .iter()
                .find(|(own, _)| own.eq_ignore_ascii_case(name));
            match known {
                Some((_, own)) if own == value => named += 1,
                Some(_) => return None,
                None => {}
            }
        }
        Some(base + named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_they_ask_for() {
        use Format::{OpenMetrics, Protobuf, Text};
        let prometheus = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,\
            */*;q=0.1";
        let with_native = "application/vnd.google.protobuf;\
            proto=io.prometheus.client.MetricFamily;encoding=delimited,\
            application/openmetrics-text;version=1.0.0;q=0.8,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,\
            */*;q=0.1";
        let version_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,\
            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,\
            */*;q=0.2";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, expected) in [
            (prometheus, OpenMetrics),
            (with_native, Protobuf),
            (version_3, OpenMetrics),
            (browser, Text),
            ("", Text),
            ("*/*", Text),
            ("application/*", OpenMetrics),
            ("text/plain", Text),
            (
                "Application/OpenMetrics-Text; Version=\"1.0.0\"",
                OpenMetrics,
            ),
            // Versions, messages and encodings that are not ours.
            ("application/openmetrics-text;version=2.0.0,*/*;q=0.1", Text),
            (
                "application/vnd.google.protobuf;proto=other.Message;encoding=delimited",
                Text,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                 encoding=text, text/plain;q=0.1",
                Text,
            ),
            // The most specific range counts, not the highest.
            (
                "*/*, text/plain;q=0, application/openmetrics-text;q=0.1",
                Protobuf,
            ),
            (
                "text/plain;q=0.2, application/openmetrics-text;q=0.3",
                OpenMetrics,
            ),
            ("text/plain;q=0.3, application/openmetrics-text;q=0.2", Text),
            // Nothing that can be met, and nonsense.
            ("image/png", Text),
            ("text/plain;q=0, */*;q=0", Text),
            ("application/openmetrics-text;q=7, text/plain;q=0.1", Text),
            ("application/openmetrics-text;q=NaN, text/plain;q=0.1", Text),
            (";;;,,=,/", Text),
        ] {
            assert_eq!(Format::negotiate([accept]), expected, "{accept}");
        }
        assert_eq!(Format::negotiate([]), Text);
        let lines = ["text/plain;q=0.1", "application/openmetrics-text"];
        assert_eq!(Format::negotiate(lines), OpenMetrics);
    }
}
