//! What is written back.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{OBSERVED, RESULT, STATUS};
use crate::{
    endpoint::Endpoint,
    report::{Http, Run, TestType, Toll, TollMetric},
    toll,
};

/// Most bytes of `nettoll.dev/result`.
pub const MAX_RESULT_BYTES: usize = 4096;
/// A run's id has at most so many characters.
const MAX_RUN_ID: usize = 64;

/// The state of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits for its turn or for a pod.
    Pending,
    /// Its tests run.
    Running,
    /// There are results.
    Done,
    /// It came to nothing; the Event says why.
    Failed,
    /// It was not allowed or made no sense; the Event says why.
    Refused,
}

impl Status {
    /// The word of the design.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        [
            Self::Pending,
            Self::Running,
            Self::Done,
            Self::Failed,
            Self::Refused,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }

    /// Nothing more will come.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its state.
    pub status: Status,
    /// Which inputs it answers, by [`super::observed`].
    pub observed: String,
    /// One for each test that was run; empty before.
    pub results: Vec<TestAnswer>,
}

/// The result of one test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TestAnswer {
    /// Which test.
    pub test: TestType,
    /// Its figures may be used.
    pub valid: bool,
    /// Its main figure: the mean round trip (`path_cost`: one way), the throughput, or the median
    /// of `http_rr`.
    pub value: Option<f64>,
    /// `ns` or `bit/s`.
    pub unit: &'static str,
    /// That figure over its baseline's.
    pub toll: Option<f64>,
    /// 95 % interval of `toll`.
    pub ci95: Option<[f64; 2]>,
    /// The run of the report.
    pub run_id: String,
    /// The pod that answered for the service, on a path to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<Endpoint>,
    /// Medians of what a request waited for (`http_rr`), by the stages' names, ns.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: BTreeMap<String, f64>,
    /// Datagrams that did not arrive, of those that were sent (`udp_stream`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_share: Option<f64>,
    /// The jitter of RFC 3550 (`udp_stream`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ns: Option<f64>,
    /// The most frequent status that is an error (`http_rr`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl TestAnswer {
    /// The answer that a run gives, with the first of its tolls: that is against its baseline.
    #[must_use]
    pub fn of(run: &Run, tolls: &[Toll]) -> Self {
        let metric = toll::metrics(run.test).first();
        let mut of_run = tolls.iter().filter(|toll| toll.run_id == run.id);
        let toll = of_run.find(|toll| Some(&toll.metric) == metric);
        let value = match metric {
            Some(TollMetric::Throughput) => run.throughput_bits_per_second.as_ref().map(|x| x.mean),
            Some(TollMetric::RttP50) => run.rtt_ns.as_ref().map(|rtt| rtt.p50),
            _ => run.rtt_ns.as_ref().map(|rtt| rtt.mean),
        };
        let udp = run.udp.as_ref();
        Self {
            test: run.test,
            valid: run.valid,
            value: value.map(|value| rounded(value, 6)),
            unit: unit(run.test),
            toll: toll.map(|toll| rounded(toll.ratio, 4)),
            ci95: toll.map(|toll| toll.ci95.map(|bound| rounded(bound, 4))),
            run_id: run.id.chars().take(MAX_RUN_ID).collect(),
            backend: run.backend.clone(),
            stages: run
                .http
                .as_ref()
                .map_or_else(BTreeMap::new, |_| medians(run)),
            lost_share: udp.and_then(|udp| Some(rounded(udp.lost_share?, 4))),
            jitter_ns: udp.and_then(|udp| Some(rounded(udp.jitter_ns?.mean, 4))),
            status: run.http.as_ref().and_then(Http::error_status),
        }
    }

    /// In plain words: `tcp_rr: mean round trip 101.3 µs, 1.42 times its baseline (1.38 to 1.46)`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let test = self.test;
        let Some(value) = self.value.filter(|_| self.valid) else {
            return format!("{test}: not valid, see run {}", self.run_id);
        };
        let (what, value) = match test {
            TestType::TcpStream | TestType::TcpReverse | TestType::UdpStream => {
                ("throughput", format!("{:.3} Gbit/s", value / 1e9))
            }
            TestType::PathCost => ("one way", format!("{:.2} µs", value / 1e3)),
            TestType::TcpRr | TestType::UdpRr => {
                ("mean round trip", format!("{:.1} µs", value / 1e3))
            }
            TestType::HttpRr => return format!("http_rr: {}", self.http(value)),
        };
        let toll = match (self.toll, self.ci95) {
            (Some(toll), Some([low, high])) => {
                format!(", {toll:.2} times its baseline ({low:.2} to {high:.2})")
            }
            _ => ", toll not known".to_owned(),
        };
        let backend = self.backend.as_ref();
        let backend = backend.map_or_else(String::new, |pod| format!(", answered by {pod}"));
        let datagrams = self.datagrams();
        format!("{test}: {what} {value}{datagrams}{toll}{backend}")
    }
}

impl TestAnswer {
    /// `, 2.00 % lost, jitter 12.0 µs`, of `udp_stream`.
    fn datagrams(&self) -> String {
        let lost = self.lost_share.map(|share| share * 100.0);
        let lost = lost.map_or_else(String::new, |lost| format!(", {lost:.2} % lost"));
        let jitter = self.jitter_ns.map(|ns| ns / 1e3);
        lost + &jitter.map_or_else(String::new, |us| format!(", jitter {us:.1} µs"))
    }

    /// `median 3.10 ms (connect 0.10, first_byte 2.90), status 403`.
    fn http(&self, value: f64) -> String {
        let ms = |ns: f64| format!("{:.2}", ns / 1e6);
        let stages = self.stages.iter();
        let stages: Vec<_> = stages
            .map(|(name, &ns)| format!("{name} {}", ms(ns)))
            .collect();
        let status = self.status;
        let status = status.map_or_else(String::new, |status| format!(", status {status}"));
        format!("median {} ms ({}){status}", ms(value), stages.join(", "))
    }
}

/// The medians of a run's stages.
fn medians(run: &Run) -> BTreeMap<String, f64> {
    let stages = run.stages.iter().flatten();
    let medians = stages.filter_map(|stage| Some((stage.stage.clone(), rounded(stage.p50_ns?, 4))));
    medians.collect()
}

impl Answer {
    /// The answer's annotations; `None` takes one away.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, Option<String>> {
        let result = (!self.results.is_empty()).then(|| self.result());
        [
            (STATUS, Some(self.status.as_str().to_owned())),
            (OBSERVED, Some(self.observed.clone())),
            (RESULT, result),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// A JSON array of at most [`MAX_RESULT_BYTES`]. What does not fit is counted in a last
    /// element `{"left_out": N}`.
    fn result(&self) -> String {
        let items: Vec<String> = self
            .results
            .iter()
            // Numbers, short texts: there is nothing that JSON cannot hold.
            .map(|result| serde_json::to_string(result).unwrap_or_else(|_| "null".to_owned()))
            .collect();
        (0..=items.len())
            .rev()
            .map(|kept| {
                let mut parts = items[..kept].to_vec();
                if kept < items.len() {
                    parts.push(format!("{{\"left_out\":{}}}", items.len() - kept));
                }
                format!("[{}]", parts.join(","))
            })
            .find(|text| text.len() <= MAX_RESULT_BYTES)
            .unwrap_or_else(|| "[]".to_owned())
    }
}

fn unit(test: TestType) -> &'static str {
    match test {
        TestType::TcpStream | TestType::TcpReverse | TestType::UdpStream => "bit/s",
        TestType::TcpRr | TestType::UdpRr | TestType::PathCost | TestType::HttpRr => "ns",
    }
}

/// To so many significant digits: more are noise, and take room.
fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(test: TestType, toll: Option<f64>) -> TestAnswer {
        TestAnswer {
            test,
            valid: true,
            value: Some(101_318.0),
            unit: unit(test),
            toll,
            ci95: toll.map(|toll| [toll - 0.04, toll + 0.04]),
            run_id: "job7-tcp_rr".to_owned(),
            backend: None,
            stages: BTreeMap::new(),
            lost_share: None,
            jitter_ns: None,
            status: None,
        }
    }

    fn answer(results: Vec<TestAnswer>) -> Answer {
        Answer {
            status: Status::Done,
            observed: "0123456789abcdef".to_owned(),
            results,
        }
    }

    #[test]
    fn an_answer_is_three_annotations() {
        let found = answer(vec![result(TestType::TcpRr, Some(1.42))]).annotations();
        let get = |key: &str| found[key].as_deref();
        assert_eq!(get(STATUS), Some("done"));
        assert_eq!(get(OBSERVED), Some("0123456789abcdef"));
        let expected = r#"[{"test":"tcp_rr","valid":true,"value":101318.0,"unit":"ns","toll":1.42,"ci95":[1.38,1.46],"run_id":"job7-tcp_rr"}]"#;
        assert_eq!(get(RESULT), Some(expected));
        // What was not measured is null, and an old result is taken away.
        let none = answer(vec![result(TestType::TcpRr, None)]).annotations();
        assert!(
            none[RESULT]
                .as_deref()
                .unwrap()
                .contains(r#""toll":null,"ci95":null"#)
        );
        assert_eq!(answer(Vec::new()).annotations()[RESULT], None);
    }

    #[test]
    fn nothing_is_left_out_silently() {
        let many = vec![result(TestType::TcpRr, Some(1.42)); 100];
        let found = answer(many).annotations();
        let text = found[RESULT].as_deref().unwrap();
        assert!(text.len() <= MAX_RESULT_BYTES);
        let items: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        let left_out = items.last().unwrap()["left_out"].as_u64().unwrap();
        assert_eq!(items.len() as u64 - 1 + left_out, 100);
        assert!(items.len() > 20);
    }

    #[test]
    fn answers_read_as_sentences() {
        assert_eq!(
            result(TestType::TcpRr, Some(1.42)).sentence(),
            "tcp_rr: mean round trip 101.3 µs, 1.42 times its baseline (1.38 to 1.46)"
        );
        assert_eq!(
            result(TestType::TcpStream, None).sentence(),
            "tcp_stream: throughput 0.000 Gbit/s, toll not known"
        );
        let mut served = result(TestType::TcpRr, None);
        served.backend = Some("pod/shop/db".parse().unwrap());
        assert!(served.sentence().ends_with(", answered by pod/shop/db"));
        let mut datagrams = result(TestType::UdpStream, None);
        (datagrams.value, datagrams.lost_share) = (Some(1e8), Some(0.02));
        datagrams.jitter_ns = Some(12_040.0);
        assert_eq!(
            datagrams.sentence(),
            "udp_stream: throughput 0.100 Gbit/s, 2.00 % lost, jitter 12.0 µs, toll not known"
        );
        let mut http = result(TestType::HttpRr, None);
        http.value = Some(3_100_000.0);
        let stages = [("connect", 100_000.0), ("first_byte", 2_900_000.0)];
        http.stages = stages.map(|(name, ns)| (name.to_owned(), ns)).into();
        http.status = Some(403);
        assert_eq!(
            http.sentence(),
            "http_rr: median 3.10 ms (connect 0.10, first_byte 2.90), status 403"
        );
        let mut invalid = result(TestType::UdpRr, None);
        invalid.valid = false;
        assert_eq!(invalid.sentence(), "udp_rr: not valid, see run job7-tcp_rr");
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for status in ["pending", "running", "done", "failed", "refused"] {
            assert_eq!(Status::of(status).unwrap().as_str(), status);
        }
        assert_eq!(Status::of("x"), None);
        assert!(!Status::Running.is_final() && Status::Refused.is_final());
    }

    #[test]
    fn figures_keep_their_leading_digits() {
        assert_eq!(rounded(101_318.456_7, 6), 101_318.0);
        assert_eq!(rounded(1.423_456, 4), 1.423);
        assert_eq!(rounded(0.0, 4), 0.0);
    }
}
