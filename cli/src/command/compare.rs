//! `nettoll compare`: what became better or worse between two saved reports.

use std::path::PathBuf;

use nettoll_core::change::{Changes, Figures, Verdict, changes};
use serde_json::json;

use super::output::{self, Simple};
use crate::{
    failure::{Failure, print},
    files,
    render::text,
};

/// The schema of `-o json`.
const SCHEMA: &str = "nettoll.compare/v1";

const EXAMPLES: &str = "\
Examples:
  nettoll toll --out before             # then change something
  nettoll toll --out after
  nettoll compare before/report.json after/report.json
  nettoll compare before/report.json after/report.json --tolerance 2% --figures tolls --strict

Exit codes: 0 nothing regressed; 1 something of OLD cannot be compared, or the intervals decide
nothing (with --strict: not all); 2 wrong usage, or no report; 3 something regressed.";

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
    /// A figure has regressed where all of its 95 % interval is worse by more than this
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = tolerance)]
    tolerance: f64,
    /// Which figures to compare
    #[arg(long, value_enum, value_name = "WHICH", default_value = "all")]
    figures: Which,
    /// Fail also where a figure may be worse by more than the tolerance
    #[arg(long)]
    strict: bool,
    /// What to write to standard output
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "table"
    )]
    output: Simple,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Which {
    /// What paths cost beyond their baselines: the same on a slower machine
    Tolls,
    /// Throughput, times and processor time of each path, baselines too
    Paths,
    /// Both
    All,
}

/// `5%`, `0.5 %` or `5`, in percent. Throughput cannot be worse by more than 100 %.
fn tolerance(text: &str) -> Result<f64, String> {
    let percent = text.trim().trim_end_matches('%').trim_end();
    match percent.parse::<f64>() {
        Ok(percent) if (0.0..=99.0).contains(&percent) => Ok(percent),
        _ => Err("give percent from 0 to 99, such as 5%".to_owned()),
    }
}

/// Reads both and says what changed.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let Args {
        old,
        new,
        tolerance,
        figures,
        strict,
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
        Simple::Table => text::changes(&found, tolerance, output::style()),
        Simple::Json => json(&found, tolerance)?,
    })?;
    judged(&found, tolerance, strict)
}

fn json(found: &Changes, tolerance: f64) -> Result<String, files::Error> {
    let all = json!({
        "schema": SCHEMA,
        "tolerance_percent": tolerance,
        "regressed": found.count(Verdict::Regressed),
        "improved": found.count(Verdict::Improved),
        "same": found.count(Verdict::Same),
        "unclear": found.count(Verdict::Unclear),
        "changes": found.changes,
        "missing": found.missing,
    });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

/// A gate that passes because nothing was compared, or nothing decided, is none.
fn judged(found: &Changes, tolerance: f64, strict: bool) -> Result<(), Failure> {
    let all = found.changes.len();
    let mut faults = Vec::new();
    if !found.missing.is_empty() {
        faults.push("not all of the old report can be compared".to_owned());
    }
    let doubtful = found.doubtful(tolerance);
    if all == 0 {
        faults.push("there is nothing to compare: measure the same paths and tests".to_owned());
    } else if found.count(Verdict::Unclear) == all {
        faults.push("the intervals are too wide to decide anything: measure longer".to_owned());
    } else if strict && doubtful > 0 {
        faults.push(format!(
            "{doubtful} of {all} figures may be worse by more than {tolerance} %"
        ));
    }
    let regressed = found.count(Verdict::Regressed);
    if regressed > 0 {
        faults.insert(
            0,
            format!("{regressed} of {all} figures are worse by more than {tolerance} %"),
        );
        return Err(Failure::Regressed(faults.join("; ")));
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
        for (text, percent) in [("5%", 5.0), ("0.5 %", 0.5), ("7", 7.0), ("0", 0.0)] {
            assert_eq!(tolerance(text), Ok(percent), "{text}");
        }
        for text in ["", "%", "-1%", "x", "nan", "100"] {
            assert!(tolerance(text).is_err(), "{text}");
        }
    }
}
