//! A matrix on disk: what `--resume` goes on with, and the files for people.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nettoll_core::{
    matrix::{Asked, Matrix, Preset, SCHEMA},
    report::Report,
};

use super::mismatch;
use crate::{
    failure::Failure,
    files::{self, Error},
    render::{
        csv, perf_tests,
        text::{self, Style},
    },
};

/// The file that is written after each cell.
const STATE: &str = "matrix.json";
/// How wide a table in a file is.
const COLUMNS: usize = 100;

/// A folder with a matrix in it.
#[derive(Debug)]
pub(super) struct Store(PathBuf);

impl Store {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0
    }

    /// What was measured before and is to be gone on with.
    ///
    /// # Errors
    /// There is nothing to go on with, or something else than was asked for; or what is there
    /// would be lost.
    pub(super) fn earlier(&self, asked: &Asked, resume: bool) -> Result<Option<Matrix>, Failure> {
        let found = self.read()?;
        let told = |what: &str| Failure::Prerequisite(format!("{} {what}", self.state().display()));
        match (found, resume) {
            (None, false) => Ok(None),
            (None, true) => Err(told(
                "is not there: nothing to go on with, leave out --resume",
            )),
            (Some(matrix), true) => {
                matrix.asked.same_as(asked).map_err(mismatch)?;
                Ok(Some(matrix))
            }
            // What was measured takes long to have again.
            (Some(matrix), false) if matrix.next().is_some() && matrix.context.is_some() => Err(
                told("is of a matrix that was interrupted: go on with --resume, or remove it"),
            ),
            (Some(_), false) => Ok(None),
        }
    }

    fn state(&self) -> PathBuf {
        self.0.join(STATE)
    }

    fn read(&self) -> Result<Option<Matrix>, Failure> {
        let path = self.state();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let what = "read";
                return Err(Error::Io { what, path, source }.into());
            }
        };
        let unknown = |why: String| {
            Failure::Prerequisite(format!(
                "{} is no matrix of this version of nettoll ({why}): remove it, or give another \
                 folder",
                path.display()
            ))
        };
        let matrix: Matrix =
            serde_json::from_str(&text).map_err(|error| unknown(error.to_string()))?;
        if matrix.schema == SCHEMA {
            Ok(Some(matrix))
        } else {
            Err(unknown(format!("its schema is '{}'", matrix.schema)))
        }
    }

    /// Keeps what was measured so far. Who is interrupted meanwhile still has what was there.
    pub(super) fn save(&self, matrix: &Matrix) -> Result<(), Error> {
        let text = serde_json::to_string(matrix)? + "\n";
        files::replace(&self.state(), &text)
    }

    /// Writes what people and other tools read.
    pub(super) fn write(&self, matrix: &Matrix, report: Option<&Report>) -> Result<(), Error> {
        self.save(matrix)?;
        let put = |name: &str, text: &str| files::replace(&self.0.join(name), text);
        let style = Style {
            columns: COLUMNS,
            colour: false,
        };
        put("matrix.txt", &text::matrix(matrix, style))?;
        if matrix.asked.preset == Some(Preset::PerfTests) {
            put("perf-tests.csv", &perf_tests::csv(matrix))?;
        }
        if let Some(report) = report {
            put("report.json", &files::json(report)?)?;
            put("report.csv", &csv::report(report))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn what_was_measured_is_kept_and_gone_on_with() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().to_owned());
        let mut matrix = sample::matrix();
        let asked = matrix.asked.clone();
        let told = |resume, asked: &Asked| match store.earlier(asked, resume) {
            Err(Failure::Prerequisite(told)) => told,
            other => panic!("{other:?}"),
        };
        assert!(store.earlier(&asked, false).unwrap().is_none());
        assert!(told(true, &asked).contains("nothing to go on with"));

        store.save(&matrix).unwrap();
        assert_eq!(store.earlier(&asked, true).unwrap(), Some(matrix.clone()));
        assert!(told(false, &asked).contains("go on with --resume, or remove it"));
        let longer = Asked {
            seconds: 6.0,
            ..asked.clone()
        };
        assert!(told(true, &longer).contains("seconds: 5.0 then, 6.0 now"));

        // One that is whole may be written over.
        for at in 0..matrix.cells.len() {
            matrix.failed(at, "no".to_owned());
        }
        store.write(&matrix, matrix.report().as_ref()).unwrap();
        assert!(store.earlier(&asked, false).unwrap().is_none());
        let mut names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        let files = ["matrix.json", "matrix.txt", "report.csv", "report.json"];
        assert_eq!(names, files);
    }

    #[test]
    fn what_is_no_matrix_is_told_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().to_owned());
        let asked = sample::matrix().asked;
        for text in ["", "{}", "{\"schema\": \"nettoll.matrix/v2\"}"] {
            fs::write(store.state(), text).unwrap();
            for resume in [false, true] {
                let told = store.earlier(&asked, resume).unwrap_err().to_string();
                assert!(told.contains("no matrix of this version"), "{told}");
                assert!(!told.contains('\n'), "{told}");
            }
        }
    }
}
