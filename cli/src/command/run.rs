//! A job from the request to the report.

use std::{collections::BTreeMap, future::Future};

use nettoll_core::{
    api::{Job, JobResult},
    component::folded,
};

use super::output;
use crate::{client::Client, failure::Failure, progress::Progress, render::Rendering};

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

/// Has the controller do a job and writes what comes of it.
pub(super) async fn job(
    client: &Client,
    job: &Job,
    output: &output::OutputArgs,
) -> Result<(), Failure> {
    let mut progress = Progress::new();
    let result = client.job(job, |event| progress.event(event)).await;
    progress.clear();
    let rendering = rendering(result?);
    let metrics = if output.files() {
        let told = |error| eprintln!("nettoll: warning: there will be no metrics.prom: {error}");
        client.metrics().await.map_err(told).ok()
    } else {
        None
    };
    output.write(&rendering, metrics.as_deref())
}

/// The report with this command's arguments in its context: only this process knows them.
fn rendering(result: JobResult) -> Rendering {
    let JobResult { mut report, stacks } = result;
    report.context.command = std::env::args().collect();
    let folded: BTreeMap<_, _> = stacks
        .into_iter()
        .map(|(run, stacks)| (run, folded(&stacks)))
        .collect();
    Rendering { report, folded }
}
