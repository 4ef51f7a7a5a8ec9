//! A process that keeps a pod, and so its network namespace, alive.

use std::{io, process::ExitCode};

use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// Waits for a signal. As the first process of a container it would ignore one that it does not
/// ask for, and be killed only after the pod's grace period.
pub(crate) fn run() -> ExitCode {
    match wait() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nettoll-agent: cannot wait for a signal: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wait() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
