//! The agent as a process: how it begins, what it needs, how it ends.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Output},
};

use anyhow::{Context as _, Result};
use nettoll_lab::{Lab, Network, Options};
use nettoll_tests::{
    agent::{Agent, Certificates},
    binary, require_root,
};
use serde_json::Value;

/// Nobody's user and group.
const NOBODY: u32 = 65534;

/// Runs the agent's binary as an ordinary user, from a folder that such a user can read.
fn as_nobody(arguments: &[&str]) -> Result<Output> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let program = folder.path().join("nettoll-agent");
    fs::copy(binary("nettoll-agent")?, &program)?;
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .current_dir("/")
        .gid(NOBODY)
        .uid(NOBODY);
    Ok(command.output()?)
}

#[test]
fn without_root_it_says_what_it_lacks() -> Result<()> {
    require_root()?;
    let output = as_nobody(&["run", "--config", "/nowhere/agent.toml"])?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in [
        "CAP_BPF",
        "CAP_PERFMON",
        "CAP_NET_ADMIN",
        "CAP_SYS_ADMIN",
        "root",
    ] {
        assert!(said.contains(word), "{said}");
    }
    Ok(())
}

#[test]
fn the_doctor_sees_an_ordinary_user() -> Result<()> {
    require_root()?;
    let output = as_nobody(&["doctor", "-o", "json"])?;
    assert_eq!(output.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report["ready"], Value::Bool(false));
    let capabilities = report["capabilities"]
        .as_array()
        .context("no capabilities")?;
    assert_eq!(capabilities.len(), 7);
    assert!(
        capabilities
            .iter()
            .all(|capability| capability["held"] == Value::Bool(false))
    );
    for hook in report["hooks"].as_array().context("no hooks")? {
        assert_eq!(hook["works"], Value::Bool(false), "{hook}");
        assert!(hook["remedy"].is_string(), "{hook}");
    }
    Ok(())
}

#[test]
fn the_doctor_tries_every_hook() -> Result<()> {
    require_root()?;
    let output = Command::new(binary("nettoll-agent")?)
        .args(["doctor", "-o", "json"])
        .output()?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let hooks = report["hooks"].as_array().context("no hooks")?;
    let required = hooks
        .iter()
        .filter(|hook| hook["required"] == Value::Bool(true));
    // Which the other tests of this lane need as well.
    for hook in required {
        assert_eq!(hook["reason"], "attached", "{hook}");
    }
    assert_eq!(
        hooks.iter().filter(|hook| hook["kind"] == "fentry").count(),
        5
    );
    let ready = report["ready"] == Value::Bool(true);
    assert_eq!(
        output.status.code(),
        Some(if ready { 0 } else { 2 }),
        "{}",
        report["missing"]
    );
    Ok(())
}

#[test]
fn signals_end_it_in_order() -> Result<()> {
    require_root()?;
    let lab = Lab::up(&Options {
        network: Network::Vxlan,
        ..Options::default()
    })?;
    let certificates = Certificates::new()?;
    let node = &lab.plan().nodes[0];
    for (signal, code) in [(libc::SIGTERM, 0), (libc::SIGINT, 130)] {
        let agent = Agent::start(node, &certificates)?;
        assert_eq!(agent.page("/healthz")?, (200, "ok\n".to_owned()));
        assert_eq!(agent.signal(signal)?.code(), Some(code));
    }
    Ok(())
}

#[test]
fn its_metrics_are_there_before_any_run() -> Result<()> {
    require_root()?;
    let lab = Lab::up(&Options {
        network: Network::Vxlan,
        ..Options::default()
    })?;
    let certificates = Certificates::new()?;
    let agent = Agent::start(&lab.plan().nodes[0], &certificates)?;
    let (status, page) = agent.page("/metrics")?;
    assert_eq!(status, 200);
    for text in [
        "# TYPE nettoll_agent_stage_packets counter",
        "# TYPE nettoll_agent_stage_latency_seconds histogram",
        "nettoll_hook_state{hook=\"net_dev_queue\",state=\"ready\",reason=\"attached\"} 1",
        "nettoll_build_info{version=",
        "# EOF",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    assert_eq!(agent.page("/readyz")?.0, 200);
    assert_eq!(agent.page("/")?.0, 404);
    Ok(())
}
