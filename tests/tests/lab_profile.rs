//! The sampler against the running kernel, and against perf.
//!
//! No command of the agent samples by itself, so these are unit tests of the agent, which only
//! this lane can run: with root, the eBPF programs, and nothing else on the CPUs.

use std::{env, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use nettoll_tests::{require_root, spinner::EBPF_DIR};

#[test]
fn the_sampler_agrees_with_the_kernel_and_with_perf() -> Result<()> {
    require_root()?;
    // Without it the agent would be built without a sampler.
    env::var_os(EBPF_DIR).with_context(|| format!("{EBPF_DIR} is not set"))?;
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells this test about its own package would make it build others anew.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG") || text.starts_with("CARGO_MANIFEST") {
            cargo.env_remove(name);
        }
    }
    // As the lane `pure` has built them: no dependency is built again for other features.
    let output = cargo
        .args(["test", "--workspace", "--exclude", "nettoll-agent-ebpf"])
        .args([
            "--lib",
            "--bins",
            "--features",
            "nettoll-agent/kernel-tests",
        ])
        .arg("profile::")
        .args(["--", "--test-threads", "1", "--nocapture"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(
        output.status.success(),
        "the agent's kernel tests failed, see above"
    );
    ensure!(
        text.contains("kernel::"),
        "the agent has no kernel tests any more"
    );
    Ok(())
}
