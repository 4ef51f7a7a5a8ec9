//! How a report leaves a command.

use std::path::{Path, PathBuf};

use nettoll_core::report::Report;

use crate::{
    failure::{Failure, print},
    files,
    render::{Rendering, csv, text, view},
    terminal,
};

/// What is written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Tables for people
    Table,
    /// The report as report.json
    Json,
    /// The report as report.csv
    Csv,
}

/// The same of commands that write no report.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Simple {
    /// Tables for people
    Table,
    /// JSON
    Json,
}

/// What writes a report as tables for people.
pub(super) type Table = fn(&Report, text::Style) -> String;

/// Tables as the terminal takes them.
pub(super) fn style() -> text::Style {
    text::Style {
        columns: terminal::columns(),
        colour: terminal::colour(),
    }
}

/// Makes the folder of `--out`. Fails where files could not be written in it later.
pub(super) fn prepare(directory: &Path) -> Result<(), Failure> {
    files::prepare(directory).map_err(|error| {
        Failure::Prerequisite(format!(
            "{error}; give --out a folder that you can write in"
        ))
    })
}

/// Where a report goes.
#[derive(Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// What to write to standard output
    #[arg(
        short,
        long,
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    output: Format,
    /// Also write report.json, report.html, report.csv, stacks and flame graphs here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl OutputArgs {
    /// Fails where the files could not be written later.
    pub(crate) fn prepare(&self) -> Result<(), Failure> {
        self.out.as_deref().map_or(Ok(()), prepare)
    }

    /// Whether files are asked for.
    pub(crate) fn files(&self) -> bool {
        self.out.is_some()
    }

    /// Writes the files and standard output. A report with an invalid run is written like any
    /// other and is a failure all the same.
    pub(crate) fn write(
        &self,
        rendering: &Rendering,
        metrics: Option<&str>,
        table: Table,
    ) -> Result<(), Failure> {
        // What one way out refuses the other may still take.
        let written = match &self.out {
            Some(directory) => files::write(directory, rendering, metrics),
            None => Ok(()),
        };
        let report = &rendering.report;
        print(&match self.output {
            Format::Table => table(report, style()),
            Format::Json => files::json(report)?,
            Format::Csv => csv::report(report),
        })?;
        written?;
        if let Some(directory) = &self.out {
            eprintln!(
                "nettoll: the report is in {}",
                directory.join("report.html").display()
            );
        }
        let invalid = view::invalid(report);
        if invalid.is_empty() {
            return Ok(());
        }
        let names = invalid
            .iter()
            .map(|run| {
                format!(
                    "{} {} ({})",
                    run.path.label(),
                    run.test,
                    run.invalid_reasons.join("; ")
                )
            })
            .collect::<Vec<_>>();
        Err(Failure::Run(format!(
            "invalid, and in no toll: {}",
            names.join(", ")
        )))
    }
}
