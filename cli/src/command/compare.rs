//! `nettoll compare`: what became better or worse between two saved reports.

use std::path::PathBuf;

use nettoll_core::change::{Changes, Figures, Verdict, changes};
use serde_json::json;

use super::output;
use crate::{
    failure::{Failure, print},
    files,
    render::text,
};

/// The schema of `-o json`.
const SCHEMA: &str = "nettoll.compare/v1";

const EXAMPLES: &str = "\
Examples:
  nettoll toll --out before; …; nettoll toll --out after
  nettoll compare before/report.json after/report.json
  nettoll compare before/report.json after/report.json --tolerance 2% --figures tolls

Exit codes: 0 nothing regressed; 1 something did, or cannot be compared; 2 wrong usage, or no report.";

/// Arguments of `nettoll compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The report.json to compare with
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The report.json that is judged
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// How much worse is no regression
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = tolerance)]
    tolerance: f64,
    /// Tolls stay the same on a slower machine, the paths' own figures do not
    #[arg(long, value_enum, value_name = "WHICH", default_value = "all")]
    figures: Which,
    /// What to write to standard output
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "table"
    )]
    output: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Which {
    /// What paths cost beyond their baselines
    Tolls,
    /// Throughput, times and processor time of each path alone
    Paths,
    /// Both
    All,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// Tables for people
    Table,
    /// All figures and intervals
    Json,
}

/// `5%`, `0.5 %` or `5`: a part.
fn tolerance(text: &str) -> Result<f64, String> {
    let percent = text.trim().trim_end_matches('%').trim_end();
    match percent.parse::<f64>() {
        Ok(percent) if (0.0..=1_000.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("give percent from 0 to 1000, such as 5%".to_owned()),
    }
}

/// Reads both and says what changed.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let Args {
        old,
        new,
        tolerance,
        figures,
        output,
    } = args;
    let [old, new] = [files::report(&old)?, files::report(&new)?];
    let figures = match figures {
        Which::Tolls => Figures::Tolls,
        Which::Paths => Figures::Paths,
        Which::All => Figures::All,
    };
    let found = changes(&old, &new, figures, tolerance);
    print(match output {
        Format::Table => text::changes(&found, tolerance, output::style()),
        Format::Json => json(&found, tolerance)?,
    })?;
    judged(&found, tolerance)
}

fn json(found: &Changes, tolerance: f64) -> Result<String, files::Error> {
    let all = json!({
        "schema": SCHEMA,
        "tolerance_percent": tolerance * 100.0,
        "regressed": found.count(Verdict::Regressed),
        "improved": found.count(Verdict::Improved),
        "same": found.count(Verdict::Same),
        "unclear": found.count(Verdict::Unclear),
        "changes": found.changes,
        "missing": found.missing,
    });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

/// A gate that passes because nothing was compared is none.
fn judged(found: &Changes, tolerance: f64) -> Result<(), Failure> {
    let regressed = found.count(Verdict::Regressed);
    let mut faults = Vec::new();
    if regressed > 0 {
        let (all, percent) = (found.changes.len(), tolerance * 100.0);
        faults.push(format!(
            "{regressed} of {all} figures are worse by more than {percent} %"
        ));
    }
    if !found.missing.is_empty() {
        let count = found.missing.len();
        faults.push(format!("{count} of the old report cannot be compared"));
    }
    if found.changes.is_empty() {
        faults.push("there is nothing to compare; measure the same paths and tests".to_owned());
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Failure::Run(faults.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_percent() {
        for (text, part) in [("5%", 0.05), ("0.5 %", 0.005), ("20", 0.2), ("0", 0.0)] {
            assert!((tolerance(text).unwrap() - part).abs() < 1e-12, "{text}");
        }
        for text in ["", "%", "-1%", "x", "nan", "1001"] {
            assert!(tolerance(text).is_err(), "{text}");
        }
    }
}
