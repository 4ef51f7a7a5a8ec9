//! The cells of a matrix, one job after the other.

use std::time::{Duration, Instant};

use nettoll_core::{
    api::Job,
    matrix::{Cell, Matrix, Outcome, Pace},
    report::Report,
};
use tokio::time::sleep;

use super::store::Store;
use crate::{
    client::{Client, Error},
    command::run,
    failure::Failure,
    progress::Progress,
};

/// How long nodes may be busy with somebody else's job, or with the end of one that was
/// interrupted.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_secs(1);

/// Measures all cells that wait. After each one, what was measured is kept.
///
/// # Errors
/// The controller cannot be asked any more, or the matrix cannot be kept. A cell that fails is none.
pub(super) async fn all(
    client: &Client,
    matrix: &mut Matrix,
    store: Option<&Store>,
) -> Result<(), Failure> {
    let mut progress = Progress::new();
    let mut pace = Pace::default();
    while let Some(at) = matrix.next() {
        let Some(cell) = matrix.cells.get(at) else {
            break;
        };
        let name = format!("cell {} of {}", at + 1, matrix.cells.len());
        let (runs, later) = (cell.runs(), waiting(matrix) - cell.runs());
        progress.part(name.clone(), pace, runs, later);
        let job = Job::Test(matrix.job(cell));
        let begun = Instant::now();
        match measured(client, &job, &mut progress).await {
            Ok(report) => {
                matrix
                    .measured(at, report)
                    .map_err(|error| Failure::Run(error.to_string()))?;
                pace.add(runs, begun.elapsed().as_secs_f64());
            }
            Err(error @ (Error::Refused(_) | Error::Busy(_) | Error::Failed(_))) => {
                matrix.failed(at, error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(store) = store {
            store.save(matrix)?;
        }
        let cell = matrix.cells.get(at);
        let label = cell.map(Cell::label).unwrap_or_default();
        match cell.and_then(Cell::fault) {
            Some(fault) => progress.message(&format!("{name}: {label}: {fault}")),
            None => progress.line(&format!("{name}: {label} is measured")),
        }
    }
    Ok(())
}

/// The runs of all cells that are not measured yet.
fn waiting(matrix: &Matrix) -> u32 {
    let waiting = |cell: &&Cell| cell.outcome == Outcome::Waiting;
    matrix.cells.iter().filter(waiting).map(Cell::runs).sum()
}

async fn measured(client: &Client, job: &Job, progress: &mut Progress) -> Result<Report, Error> {
    let begun = Instant::now();
    loop {
        match run::measured(client, job, progress).await {
            Err(Error::Busy(_)) if begun.elapsed() < PATIENCE => sleep(PAUSE).await,
            other => return other.map(|rendering| rendering.report),
        }
    }
}
