//! A job from the request to the report, and a run that was measured before.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    future::Future,
    str::FromStr,
};

use nettoll_core::{
    api::{Job, JobResult},
    component::folded,
};

use super::output;
use crate::{
    client::{Client, Error},
    failure::Failure,
    progress::Progress,
    render::Rendering,
};

/// The id of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunId(String);

impl FromStr for RunId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if (1..=64).contains(&text.len()) && text.chars().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a run's id has 1 to 64 letters, digits, '-' and '_', as in reports")
        }
    }
}

impl Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs a future to its end; Ctrl-C drops it, which closes its connection to the controller.
pub(super) fn interruptible<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Run(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            result = work => result,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
        }
    })
}

/// Has the controller do a job and writes what comes of it, as tables by `table`.
pub(super) async fn job(
    client: &Client,
    job: &Job,
    output: &output::OutputArgs,
    table: output::Table,
) -> Result<(), Failure> {
    let rendering = measured(client, job, &mut Progress::new()).await?;
    let metrics = if output.files() {
        let told = |error| eprintln!("nettoll: warning: there will be no metrics.prom: {error}");
        client.metrics().await.map_err(told).ok()
    } else {
        None
    };
    output.write(&rendering, metrics.as_deref(), table)
}

/// Has the controller do a job. The report has this command's arguments in its context: only this
/// process knows them.
pub(super) async fn measured(
    client: &Client,
    job: &Job,
    progress: &mut Progress,
) -> Result<Rendering, Error> {
    let result = client.job(job, |event| progress.event(event)).await;
    progress.clear();
    let JobResult { mut report, stacks } = result?;
    report.context.command = std::env::args().collect();
    let stacks = stacks.iter();
    let folded = stacks.map(|(run, stacks)| (run.clone(), folded(stacks)));
    Ok(Rendering {
        report,
        folded: folded.collect(),
    })
}

/// What the controller still has of a run: it, its baselines, and the stacks of those that were
/// sampled.
pub(super) async fn kept(client: &Client, id: &RunId) -> Result<Rendering, Failure> {
    let report = client.run(&id.0).await?;
    let mut folded = BTreeMap::new();
    for run in &report.runs {
        if let Some(stacks) = client.stacks(&run.id).await? {
            folded.insert(run.id.clone(), stacks);
        }
    }
    Ok(Rendering { report, folded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_no_path() {
        let id = "pod-to-pod-pods-tcp_rr-1-9f86d081";
        assert_eq!(id.parse::<RunId>().unwrap().to_string(), id);
        for text in ["", "../metrics", "a b", &"x".repeat(65)] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }
}
