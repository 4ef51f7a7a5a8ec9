//! A matrix: chosen tests × kinds of paths × a sweep, each cell a job of its own.
//!
//! What was measured stays in its cell, so that a matrix which was interrupted goes on where it
//! stopped: its JSON (`nettoll.matrix/v1`) is what is kept between the two.

mod pace;
mod plan;
mod preset;
mod resume;
mod sweep;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::{
    pace::Pace,
    preset::{Column, Preset},
    resume::Mismatch,
    sweep::Sweep,
};
use crate::{
    api::{ProbeMode, TestJob},
    endpoint::{Path, PathKind},
    report::{Changed, Context, Options, Report, Run, SCHEMA as REPORT_SCHEMA, TestType, Toll},
};

/// The value of [`Matrix::schema`].
pub const SCHEMA: &str = "nettoll.matrix/v1";

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Chooses tests and paths, and how they are shown.
    pub preset: Option<Preset>,
    /// The tests; of a preset none.
    pub tests: Vec<TestType>,
    /// The kinds of paths; of a preset none.
    pub paths: Vec<PathKind>,
    /// The pod network, as the user named it.
    pub network: String,
    /// The client's node; `null` for the inventory's first.
    pub from_node: Option<String>,
    /// The server's node; `null` for the inventory's first that is not the client's.
    pub to_node: Option<String>,
    /// The segment sizes of `tcp_stream` and `tcp_reverse`, a cell for each; none for the kernel's own choice.
    #[serde(default)]
    pub mss_bytes: Vec<u32>,
    /// Payload per second of `udp_stream`; `null` for as fast as possible.
    #[serde(default)]
    pub rate_bits_per_second: Option<u64>,
    /// Measured time of one run over all its rounds.
    pub seconds: f64,
    /// Pairs of rounds in which a path is compared with its baseline.
    pub pairs: u32,
}

/// Cells, and what was measured of them so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// [`SCHEMA`].
    pub schema: String,
    /// What was asked for.
    pub asked: Asked,
    /// The cells, in the order in which they are measured and shown.
    pub cells: Vec<Cell>,
    /// What was asked for and is no cell.
    pub missing: Vec<Missing>,
    /// Of all jobs so far; `null` before the first.
    pub context: Option<Context>,
}

/// One test on one path with one set of options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The preset's row that it belongs to; `null` where rows are paths.
    pub row: Option<String>,
    /// The type of traffic.
    pub test: TestType,
    /// From where to where.
    pub path: Path,
    /// As in [`Options`].
    #[serde(default)]
    pub mss_bytes: Option<u32>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing yet.
    Waiting,
    /// Its job gave no report.
    Failed(String),
    /// It was measured, which does not mean that its runs are valid.
    Measured(Box<Measured>),
}

/// What a cell's job measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The cell's own, then those of what it is compared with.
    pub runs: Vec<Run>,
    /// The cell's against these.
    pub tolls: Vec<Toll>,
}

/// What was asked for and cannot be measured here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missing {
    /// The test and the kind of path, or the preset's row.
    pub what: String,
    /// Why not.
    pub reason: String,
}

impl Matrix {
    /// The first cell of which nothing is known yet.
    #[must_use]
    pub fn next(&self) -> Option<usize> {
        let waiting = |cell: &Cell| cell.outcome == Outcome::Waiting;
        self.cells.iter().position(waiting)
    }

    /// The job that measures a cell, without the probe: its figures are of the traffic alone.
    #[must_use]
    pub fn job(&self, cell: &Cell) -> TestJob {
        TestJob {
            from: cell.path.from.clone(),
            to: cell.path.to.clone(),
            network: cell.path.network.clone(),
            test: cell.test,
            options: Options {
                seconds: self.asked.seconds,
                rounds: self.asked.pairs,
                mss_bytes: cell.mss_bytes,
                rate_bits_per_second: (self.asked.rate_bits_per_second)
                    .filter(|_| cell.test == TestType::UdpStream),
                ..Options::default()
            },
            against: None,
            probe: ProbeMode::Off,
        }
    }

    /// Takes in the report of a cell's job.
    ///
    /// # Errors
    /// A node is not what it was in the cells before; the cell stays as it is.
    pub fn measured(&mut self, cell: usize, report: Report) -> Result<(), Changed> {
        let Report {
            context,
            runs,
            tolls,
            ..
        } = report;
        match &mut self.context {
            Some(known) => known.add(&context)?,
            None => self.context = Some(context),
        }
        if let Some(cell) = self.cells.get_mut(cell) {
            cell.outcome = if runs.is_empty() {
                Outcome::Failed("the controller's report has no run of it".to_owned())
            } else {
                Outcome::Measured(Box::new(Measured { runs, tolls }))
            };
        }
        Ok(())
    }

    /// Takes in that a cell's job failed.
    pub fn failed(&mut self, cell: usize, reason: String) {
        if let Some(cell) = self.cells.get_mut(cell) {
            cell.outcome = Outcome::Failed(reason);
        }
    }

    /// All that was measured; `None` where nothing was.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        let measured = || self.cells.iter().filter_map(Cell::measured);
        Some(Report {
            schema: REPORT_SCHEMA.to_owned(),
            context: self.context.clone()?,
            runs: measured().flat_map(|cell| cell.runs.clone()).collect(),
            tolls: measured().flat_map(|cell| cell.tolls.clone()).collect(),
        })
    }

    /// The cells that have no figure that one may believe, and why.
    pub fn faults(&self) -> impl Iterator<Item = (&Cell, String)> {
        let faults = self.cells.iter();
        faults.filter_map(|cell| Some((cell, cell.fault()?)))
    }
}

impl Cell {
    /// `tcp_stream pod-to-pod (vxlan)`, and the segment size where one was asked for.
    #[must_use]
    pub fn label(&self) -> String {
        let label = format!("{} {}", self.test, self.path.label());
        match self.mss_bytes {
            Some(mss) => format!("{label} MSS {mss}"),
            None => label,
        }
    }

    /// What its job measured.
    #[must_use]
    pub fn measured(&self) -> Option<&Measured> {
        match &self.outcome {
            Outcome::Measured(measured) => Some(measured),
            Outcome::Waiting | Outcome::Failed(_) => None,
        }
    }

    /// Its own run, if it is one that may be believed.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        let run = self.measured()?.runs.first()?;
        run.valid.then_some(run)
    }

    /// Why it has no figure that one may believe, or nothing to compare it with; `None` where all
    /// is well, or nothing was measured yet.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let measured = match &self.outcome {
            Outcome::Waiting => return None,
            Outcome::Failed(reason) => return Some(reason.clone()),
            Outcome::Measured(measured) => measured,
        };
        let run = measured.runs.iter().find(|run| !run.valid)?;
        let reasons = run.invalid_reasons.join("; ");
        Some(if run.path == self.path {
            format!("invalid: {reasons}")
        } else {
            format!("its baseline is invalid: {reasons}")
        })
    }

    /// How many runs its job has: its own, and that of its baseline.
    #[must_use]
    pub fn runs(&self) -> u32 {
        1 + u32::from(self.path.kind.baseline().is_some())
    }
}
