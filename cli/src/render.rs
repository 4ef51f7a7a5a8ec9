//! A report as text: pure functions of a [`Report`] and its folded stacks.
//!
//! [`view`] finds what belongs together (which toll is the headline, which run is its
//! waterfall); [`units`] writes figures for people. On these stand [`text`] for terminals and
//! tickets, [`csv`] for spreadsheets, [`perf_tests`] for the scripts of
//! another benchmark, [`flame`] for flame graphs, [`pprof`] for profilers, and [`html`] for the page that
//! people show to each other.

pub(crate) mod csv;
mod families;
pub(crate) mod flame;
pub(crate) mod headline;
pub(crate) mod html;
pub(crate) mod perf_tests;
pub(crate) mod pprof;
pub(crate) mod text;
pub(crate) mod units;
pub(crate) mod view;

use std::collections::BTreeMap;

use nettoll_core::report::Report;

/// A report with the folded stacks of its runs, by run id: one `outermost;…;innermost COUNT` a
/// line, the thread's name first.
#[derive(Debug)]
pub(crate) struct Rendering {
    /// What was measured.
    pub(crate) report: Report,
    /// The stacks of the runs that were sampled.
    pub(crate) folded: BTreeMap<String, String>,
}
