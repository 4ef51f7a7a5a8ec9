//! The files of a report: written to a directory, and read again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use nettoll_core::report::{Report, Run, SCHEMA};

use crate::{
    failure::Failure,
    render::{Rendering, csv, flame, html},
};

/// Why a file of a report could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The system refuses.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Io {
        /// `read`, `write`, `make the directory`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing to read.
    #[error(
        "cannot read {path}: {source}; give a report.json, as --out DIR writes it",
        path = path.display()
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{path} is no report of this version of nettoll ({message}); give a report.json", path = path.display())]
    NoReport {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Its stacks cannot be drawn.
    #[error(transparent)]
    Flame(#[from] flame::Error),
    /// A report that cannot be written as JSON.
    #[error("cannot write the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { .. } | Error::Unreadable { .. } | Error::NoReport { .. } => {
                Self::Prerequisite(error.to_string())
            }
            Error::Flame(_) | Error::Json(_) => Self::Run(error.to_string()),
        }
    }
}

/// Reads a report and the stacks that lie beside it.
pub(crate) fn read(path: &Path) -> Result<Rendering, Error> {
    let report = report(path)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let folded = folded_beside(&report, directory)?;
    Ok(Rendering { report, folded })
}

/// Reads a report alone.
pub(crate) fn report(path: &Path) -> Result<Report, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let no_report = |message: String| Error::NoReport {
        path: path.to_owned(),
        message,
    };
    let report: Report =
        serde_json::from_str(&text).map_err(|error| no_report(error.to_string()))?;
    if report.schema != SCHEMA {
        return Err(no_report(format!(
            "its schema is '{}', not '{SCHEMA}'",
            report.schema
        )));
    }
    Ok(report)
}

/// The folded stacks of a report's runs that lie in a directory.
pub(crate) fn folded_beside(
    report: &Report,
    directory: &Path,
) -> Result<BTreeMap<String, String>, Error> {
    let mut folded = BTreeMap::new();
    for (run, stem) in stems(report) {
        let path = directory.join(format!("stacks-{stem}.folded"));
        if path.exists() {
            folded.insert(run.id.clone(), read_text(&path)?);
        }
    }
    Ok(folded)
}

/// The report as `report.json` holds it.
pub(crate) fn json(report: &Report) -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}

/// Makes the directory where there is none, and sees whether files can be made in it: before
/// minutes of measuring whose result could then not be kept.
pub(crate) fn prepare(directory: &Path) -> Result<(), Error> {
    let refused = |what, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { what, path, source }
    };
    fs::create_dir_all(directory).map_err(refused("make the directory", directory))?;
    let trial = directory.join(format!(".nettoll-{}", std::process::id()));
    fs::write(&trial, "").map_err(refused("write in", directory))?;
    fs::remove_file(&trial).map_err(refused("remove", &trial))
}

/// Writes a file as a whole or not at all: who reads it meanwhile, or after a crash, has the one
/// that was there.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = || {
        let mut file = fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().map_err(|source| {
        // What is left of it is of no use.
        let _ = fs::remove_file(&beside);
        let path = path.to_owned();
        let what = "write";
        Error::Io { what, path, source }
    })
}

/// Writes all files of a report into a directory that is there.
pub(crate) fn write(
    directory: &Path,
    rendering: &Rendering,
    metrics: Option<&str>,
) -> Result<(), Error> {
    let put = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|source| Error::Io {
            what: "write",
            path,
            source,
        })
    };
    let report = &rendering.report;
    put("report.json", &json(report)?)?;
    put("report.csv", &csv::report(report))?;
    if let Some(metrics) = metrics {
        put("metrics.prom", metrics)?;
    }
    for (run, stem) in stems(report) {
        let Some(folded) = rendering.folded.get(&run.id) else {
            continue;
        };
        put(&format!("stacks-{stem}.folded"), folded)?;
        if let Some(flame) = flame::graph(run, folded)? {
            put(&format!("flame-{stem}.svg"), &flame.svg)?;
        }
    }
    if let Some(flame) = flame::difference(rendering)? {
        put("flame-diff.svg", &flame.svg)?;
    }
    put("report.html", &html::page(rendering)?)
}

/// The middle of a run's file names: `<kind>[-<network>]-<test>`; a second run of the same path
/// and test has its id besides.
fn stems(report: &Report) -> Vec<(&Run, String)> {
    let mut seen = BTreeSet::new();
    let stem = |run: &Run| {
        let network = run
            .path
            .network
            .as_ref()
            .map(|name| format!("-{name}"))
            .unwrap_or_default();
        let mut stem = format!("{}{network}-{}", run.path.kind, run.test);
        if !seen.insert(stem.clone()) {
            stem = format!("{stem}-{}", run.id);
        }
        // A network's name and an id come from a configuration: they stay one file's name.
        stem.replace(['/', '\0'], "_")
    };
    let names: Vec<_> = report.runs.iter().map(stem).collect();
    report.runs.iter().zip(names).collect()
}

fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Io {
        what: "read",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let rendering = sample::rendering();
        write(directory.path(), &rendering, Some("# EOF\n")).unwrap();
        let again = read(&directory.path().join("report.json")).unwrap();
        assert_eq!(again.report, rendering.report);
        assert_eq!(again.folded, rendering.folded);
    }

    #[test]
    fn the_promised_files_are_there() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &sample::rendering(), Some("# EOF\n")).unwrap();
        for name in [
            "report.json",
            "report.html",
            "report.csv",
            "metrics.prom",
            "stacks-pod-to-pod-vxlan-tcp_stream.folded",
            "stacks-host-to-host-tcp_stream.folded",
            "flame-pod-to-pod-vxlan-tcp_stream.svg",
            "flame-diff.svg",
        ] {
            assert!(directory.path().join(name).is_file(), "{name}");
        }
    }

    #[test]
    fn two_runs_of_one_path_have_files_of_their_own() {
        let mut report = sample::report();
        let mut again = report.runs[0].clone();
        again.id = "again".to_owned();
        report.runs.push(again);
        let names: BTreeSet<_> = stems(&report).into_iter().map(|(_, stem)| stem).collect();
        assert_eq!(names.len(), report.runs.len());
        assert!(names.contains("loopback-path_cost-again"));
    }

    #[test]
    fn what_is_no_report_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        fs::write(&path, "{}").unwrap();
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .contains("give a report.json")
        );
        let error = read(&directory.path().join("none")).unwrap_err();
        assert!(matches!(Failure::from(error), Failure::Prerequisite(_)));
    }
}
