//! The sample report that the tests of rendering use.

use nettoll_core::report::Report;

use crate::render::Rendering;

const REPORT: &str = include_str!("../tests/data/report.json");

/// A report of all path kinds of the lab.
pub(crate) fn report() -> Report {
    serde_json::from_str(REPORT).unwrap()
}

/// The same with its stacks.
pub(crate) fn rendering() -> Rendering {
    let report = report();
    let directory = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"));
    let folded = crate::files::folded_beside(&report, directory).unwrap();
    Rendering { report, folded }
}
