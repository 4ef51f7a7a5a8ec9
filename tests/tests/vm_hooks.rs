//! The kernel's side of the probe: each hook and each member that it needs, tried on the kernel
//! that runs. `cargo xtask vm` runs this inside machines with other kernels.

use std::process::Command;

use anyhow::{Result, ensure};
use nettoll_core::kernel::TRACEPOINTS;
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

fn doctor(tier: &str) -> Result<Doctor> {
    let mut command = Command::new(binary("nettoll-agent")?);
    let command = command.args(["doctor", "-o", "json", "--probe-tier", tier]);
    Ok(serde_json::from_str(&output_of(
        command,
        "the doctor",
        "",
    )?)?)
}

#[test]
fn every_program_loads_and_every_tracepoint_takes_one() -> Result<()> {
    for tier in ["tp_btf", "raw_tp"] {
        let doctor = doctor(tier)?;
        ensure!(doctor.ready, "missing: {:?}", doctor.missing);
        let hooks: Vec<_> = (doctor.hooks.iter())
            .filter(|hook| hook.kind == tier)
            .collect();
        ensure!(
            hooks.len() == TRACEPOINTS.len(),
            "{tier}: {} hooks",
            hooks.len()
        );
        for hook in hooks {
            // It came with Linux 6.3, and Debian's 6.1 is without.
            let absent = hook.name == "sk_data_ready" && hook.reason == "not_in_kernel";
            ensure!(
                absent || hook.reason == "attached",
                "{}: {}",
                hook.name,
                hook.detail
            );
        }
    }
    Ok(())
}
