//! The kernel's side of the probe: each hook and each member that it needs, tried on the kernel
//! that runs. `cargo xtask vm` runs this inside machines with other kernels.

use std::process::Command;

use anyhow::{Result, ensure};
use nettoll_tests::{binary, output_of};
use serde::Deserialize;

/// What the doctor says, as far as it is looked at.
#[derive(Deserialize)]
struct Doctor {
    ready: bool,
    missing: Vec<String>,
    hooks: Vec<Hook>,
}

#[derive(Deserialize)]
struct Hook {
    name: String,
    kind: String,
    reason: String,
    detail: String,
}

fn doctor() -> Result<Doctor> {
    let mut command = Command::new(binary("nettoll-agent")?);
    let text = output_of(command.args(["doctor", "-o", "json"]), "the doctor", "")?;
    Ok(serde_json::from_str(&text)?)
}

#[test]
fn every_program_loads_and_every_tracepoint_takes_one() -> Result<()> {
    let doctor = doctor()?;
    ensure!(doctor.ready, "missing: {:?}", doctor.missing);
    for hook in doctor.hooks.iter().filter(|hook| hook.kind == "tp_btf") {
        ensure!(hook.reason == "attached", "{}: {}", hook.name, hook.detail);
    }
    Ok(())
}
