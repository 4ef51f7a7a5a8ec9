//! What a pod's annotations ask for.

use std::collections::BTreeMap;

use super::{INPUTS, OBSERVED, PAIR, PREFIX, RESULT, RUN, Refusal, SECONDS, STATUS, TESTS, quoted};
use crate::{endpoint::Endpoint, report::TestType};

/// Most bytes of `nettoll.dev/pair`: the longest names of a pod.
const MAX_PAIR: usize = 512;
/// Most bytes of `nettoll.dev/tests`.
const MAX_TESTS: usize = 256;
/// Most characters of `nettoll.dev/run`.
const MAX_RUN: usize = 63;
/// Without `nettoll.dev/seconds`.
const DEFAULT_SECONDS: u32 = 3;
/// Without `nettoll.dev/tests`, but to URLs.
const DEFAULT_TESTS: [TestType; 2] = [TestType::TcpRr, TestType::TcpStream];

/// A request for tests from the annotated pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    pub to: Endpoint,
    /// Which tests, each once, in the order in which they were named.
    pub tests: Vec<TestType>,
    /// Measured time of each test.
    pub seconds: u32,
    /// The value that makes a repetition another request.
    pub run: Option<String>,
}

impl Request {
    /// What a pod asks for; `None` where it carries no input of ours.
    pub fn of(
        annotations: &BTreeMap<String, String>,
        max_seconds: u32,
    ) -> Option<Result<Self, Refusal>> {
        let mut ours = annotations.keys().filter(|key| key.starts_with(PREFIX));
        let asked = ours.any(|key| ![STATUS, OBSERVED, RESULT].contains(&key.as_str()));
        asked.then(|| Self::parse(annotations, max_seconds))
    }

    fn parse(annotations: &BTreeMap<String, String>, max_seconds: u32) -> Result<Self, Refusal> {
        let known = |key: &str| {
            [&INPUTS[..], &[STATUS, OBSERVED, RESULT]]
                .concat()
                .contains(&key)
        };
        let mut ours = annotations.keys().filter(|key| key.starts_with(PREFIX));
        if let Some(key) = ours.find(|key| !known(key)) {
            return Err(Refusal(format!(
                "there is no annotation {}; the inputs are {}",
                quoted(key),
                INPUTS.join(", ")
            )));
        }
        let get = |key| annotations.get(key).map(String::as_str);
        let pair = get(PAIR).ok_or_else(|| {
            Refusal(format!(
                "{PAIR} is missing; set it to the endpoint to test, such as pod/NAMESPACE/NAME"
            ))
        })?;
        let to = to(pair)?;
        let default = match to {
            Endpoint::Url(_) => &[TestType::HttpRr][..],
            _ => &DEFAULT_TESTS,
        };
        let tests = get(TESTS).map_or_else(|| Ok(default.to_vec()), tests)?;
        if let Some(test) = tests.iter().find(|test| !test.reaches(&to)) {
            return Err(Refusal(format!(
                "{test} cannot be measured to {}; the tests there are {}",
                quoted(pair),
                TestType::names_to(&to)
            )));
        }
        Ok(Self {
            to,
            tests,
            seconds: get(SECONDS).map_or_else(
                || Ok(DEFAULT_SECONDS.min(max_seconds)),
                |text| seconds(text, max_seconds),
            )?,
            run: get(RUN).map(run).transpose()?,
        })
    }
}

fn to(text: &str) -> Result<Endpoint, Refusal> {
    short(PAIR, text, MAX_PAIR)?;
    let endpoint = text.parse().map_err(|_| {
        Refusal(format!(
            "{PAIR} is {}, which is no endpoint; write pod/NAMESPACE/NAME, node/NAME, \
             service/NAMESPACE/NAME[:PORT][@NODE] or url/https://…",
            quoted(text)
        ))
    })?;
    if matches!(endpoint, Endpoint::Netns(_)) {
        return Err(Refusal(format!(
            "{PAIR} is {}; a network namespace by name cannot be tested in a cluster, name its \
             pod: pod/NAMESPACE/NAME",
            quoted(text)
        )));
    }
    Ok(endpoint)
}

fn tests(text: &str) -> Result<Vec<TestType>, Refusal> {
    short(TESTS, text, MAX_TESTS)?;
    let mut tests = Vec::new();
    for name in text.split(',').map(str::trim) {
        let test = TestType::ALL.into_iter().find(|test| test.as_str() == name);
        let test = test.ok_or_else(|| {
            Refusal(format!(
                "{TESTS} names {}, which is no test; the tests are {}",
                quoted(name),
                TestType::ALL.map(TestType::as_str).join(", ")
            ))
        })?;
        if !tests.contains(&test) {
            tests.push(test);
        }
    }
    Ok(tests)
}

fn seconds(text: &str, max_seconds: u32) -> Result<u32, Refusal> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse().ok().filter(|_| digits);
    seconds
        .filter(|seconds| (1..=max_seconds).contains(seconds))
        .ok_or_else(|| {
            Refusal(format!(
                "{SECONDS} is {}; write whole seconds from 1 to {max_seconds}",
                quoted(text)
            ))
        })
}

fn run(text: &str) -> Result<String, Refusal> {
    if text.chars().count() > MAX_RUN {
        return Err(Refusal(format!(
            "{RUN} has more than {MAX_RUN} characters; write fewer"
        )));
    }
    short(RUN, text, text.len())?;
    Ok(text.to_owned())
}

fn short(key: &str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.len() > most {
        return Err(Refusal(format!(
            "{key} has {} bytes, and {most} are the most; write less",
            text.len()
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal(format!(
            "{key} is {}, with a control character in it; leave that out",
            quoted(text)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod checks {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Option<Result<Request, Refusal>> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Request::of(&pairs.iter().map(own).collect(), 60)
    }

    #[test]
    fn a_pair_is_enough() {
        let found = of(&[(PAIR, "pod/shop/db")]).unwrap().unwrap();
        assert_eq!(found.to.to_string(), "pod/shop/db");
        assert_eq!(found.tests, [TestType::TcpRr, TestType::TcpStream]);
        assert_eq!((found.seconds, found.run), (3, None));
        let found = of(&[(PAIR, "url/https://a/b")]).unwrap().unwrap();
        assert_eq!(found.tests, [TestType::HttpRr]);
    }

    #[test]
    fn everything_can_be_said() {
        let found = of(&[
            (PAIR, "node/n2"),
            (TESTS, "udp_rr, tcp_rr,udp_rr"),
            (SECONDS, "60"),
            (RUN, "Donnerstag, früh"),
            (STATUS, "done"),
            ("app", "x"),
        ]);
        let found = found.unwrap().unwrap();
        assert_eq!(found.tests, [TestType::UdpRr, TestType::TcpRr]);
        assert_eq!(found.seconds, 60);
        assert_eq!(found.run.as_deref(), Some("Donnerstag, früh"));
    }

    #[test]
    fn pods_that_ask_for_nothing_are_left_alone() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("app", "x"), (STATUS, "done"), (RESULT, "[]")]), None);
    }

    #[test]
    fn what_is_wrong_is_told_in_one_short_line() {
        let long = "x".repeat(1 << 20);
        let slashes = "pod/".to_owned() + &"../".repeat(40);
        let umlauts = "ü".repeat(64);
        for (inputs, expected) in [
            (&[(TESTS, "tcp_rr")][..], "nettoll.dev/pair is missing"),
            (
                &[("nettoll.dev/tets", "x")],
                "no annotation 'nettoll.dev/tets'",
            ),
            (&[(PAIR, "")], "'', which is no endpoint"),
            (&[(PAIR, "shop/db")], "'shop/db', which is no endpoint"),
            (&[(PAIR, "pod/../db")], "no endpoint"),
            (&[(PAIR, &slashes)], "no endpoint"),
            (&[(PAIR, "netns/x")], "name its pod"),
            (&[(PAIR, &long)], "has 1048576 bytes, and 512"),
            (&[(PAIR, "pod/a/b\nc")], "control character"),
            (&[(PAIR, "url/https://x/\u{7f}")], "control character"),
            (&[(PAIR, "pod/a/b"), (TESTS, "")], "'', which is no test"),
            (
                &[(PAIR, "pod/a/b"), (TESTS, "tcp_rr,x")],
                "'x', which is no test; the tests are tcp_stream, tcp_reverse",
            ),
            (&[(PAIR, "pod/a/b"), (TESTS, &long)], "1048576 bytes"),
            (
                &[(PAIR, "service/a/b"), (TESTS, "tcp_rr,path_cost")],
                "path_cost cannot be measured to 'service/a/b'; the tests there are tcp_stream, tcp_reverse",
            ),
            (&[(PAIR, "pod/a/b"), (SECONDS, "0")], "from 1 to 60"),
            (&[(PAIR, "pod/a/b"), (SECONDS, "61")], "from 1 to 60"),
            (&[(PAIR, "pod/a/b"), (SECONDS, "+3")], "from 1 to 60"),
            (&[(PAIR, "pod/a/b"), (SECONDS, "1.5")], "from 1 to 60"),
            (&[(PAIR, "pod/a/b"), (SECONDS, &long)], "xxx…'"),
            (&[(PAIR, "pod/a/b"), (RUN, &umlauts)], "more than 63"),
            (&[(PAIR, "pod/a/b"), (RUN, "\0")], "control character"),
        ] {
            let refusal = of(inputs).unwrap().unwrap_err().to_string();
            assert!(refusal.contains(expected), "{refusal}");
            assert!(refusal.len() < 512 && !refusal.chars().any(char::is_control));
        }
    }
}
