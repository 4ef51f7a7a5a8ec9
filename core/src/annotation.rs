//! A test asked for by annotations on a pod, and the answer in annotations on it.
//!
//! 1. [`Request::of`]: a pod's annotations → what is asked for, or a [`Refusal`].
//! 2. [`observed`]: the hash by which a request is recognised and not run twice.
//! 3. [`decide`]: may it run, must it wait, or is it refused, by the [`Policy`] and the
//!    [`Cluster`](crate::inventory::Cluster).
//! 4. [`Answer`]: what is written back.
//!
//! Annotations are written by whoever may edit a pod: lengths and characters are limited, and a
//! refusal quotes a few characters at most.

use std::fmt;

mod answer;
mod decide;
mod observed;
mod request;
mod usage;

pub use answer::{Answer, MAX_RESULT_BYTES, Status, TestAnswer};
pub use decide::{Decision, Policy, Usage, backend, decide, measurable};
pub use observed::observed;
pub use request::Request;
pub use usage::Usages;

/// Label of namespaces whose pods may be tested from and to, where it is `true`.
pub const ALLOW_LABEL: &str = "nettoll.dev/allow";
/// What all our annotations begin with.
pub const PREFIX: &str = "nettoll.dev/";
/// Input: the endpoint to which the pod is tested.
pub const PAIR: &str = "nettoll.dev/pair";
/// Input: the tests, with commas between.
pub const TESTS: &str = "nettoll.dev/tests";
/// Input: whole seconds of each test.
pub const SECONDS: &str = "nettoll.dev/seconds";
/// Input: free text; another one runs the tests again.
pub const RUN: &str = "nettoll.dev/run";
/// Answer: the state of the request.
pub const STATUS: &str = "nettoll.dev/status";
/// Answer: the [`observed`] inputs.
pub const OBSERVED: &str = "nettoll.dev/observed";
/// Answer: the results.
pub const RESULT: &str = "nettoll.dev/result";

/// All inputs, in the order in which [`observed`] takes them.
pub const INPUTS: [&str; 4] = [PAIR, TESTS, SECONDS, RUN];

/// Why a request is refused: one line, what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub(crate) String);

/// The beginning of a text from outside, on one line whatever it holds.
fn quoted(text: &str) -> impl fmt::Display {
    const MOST: usize = 64;
    let begin: String = text.chars().take(MOST).collect();
    let more = if begin.len() < text.len() { "…" } else { "" };
    format!("'{}{more}'", begin.escape_debug())
}
