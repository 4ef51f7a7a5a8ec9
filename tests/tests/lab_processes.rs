//! `nettoll lab up` with the real agents and the real controller in it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    api::{Inventory, NodeSummary},
    endpoint::Endpoint,
};
use nettoll_lab::{Identity, State, files};
use nettoll_tests::{bed::nothing_left, binary, require_root, session::get};

/// Takes the lab down, however the test ends.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        if let Err(error) = nettoll_lab::down(Duration::from_secs(10)) {
            eprintln!("{error}");
        }
    }
}

fn nettoll(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(binary("nettoll")?)
        .arg("lab")
        .args(arguments)
        .output()?)
}

fn up() -> Result<Down> {
    let down = Down;
    let output = nettoll(&["up"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(down)
}

fn state() -> Result<State> {
    Ok(serde_json::from_slice(&fs::read(files::path(
        "state.json",
    ))?)?)
}

#[test]
fn the_controller_reaches_the_agents_and_they_know_their_pods() -> Result<()> {
    require_root()?;
    let _down = up()?;
    let inventory: Inventory = get("/api/v1/inventory")?;
    assert_eq!(inventory, state()?.plan()?.inventory());
    let nodes: Vec<NodeSummary> = get("/api/v1/nodes")?;
    let agents = nodes
        .into_iter()
        .map(|node| node.agent.context(node.node.name));
    let agents: Vec<_> = agents.collect::<Result<_>>()?;
    assert_eq!(agents.len(), 2);
    for (agent, name) in agents.iter().zip(["n1", "n2"]) {
        assert_eq!(agent.context.node, name);
        for pod in ["a", "b"] {
            let endpoint: Endpoint = format!("pod/lab/{name}-{pod}").parse()?;
            assert!(
                agent.endpoints.contains(&endpoint),
                "{name}: {:?}",
                agent.endpoints
            );
        }
    }
    // Two nodes of one kernel.
    assert_eq!(agents[0].context.boot_id, agents[1].context.boot_id);
    Ok(())
}

#[test]
fn secrets_are_for_root_alone() -> Result<()> {
    require_root()?;
    let _down = up()?;
    let mode = |path: &Path| anyhow::Ok(fs::metadata(path)?.permissions().mode() & 0o777);
    assert_eq!(mode(files::DIRECTORY.as_ref())?, 0o700);
    for name in [
        "agent.key",
        "controller.key",
        "controller.sock",
        "agent-n1.log",
    ] {
        assert_eq!(mode(&files::path(name))?, 0o600, "{name}");
    }
    Ok(())
}

#[test]
fn a_killed_agent_is_told_and_nothing_stays() -> Result<()> {
    require_root()?;
    let down = up()?;
    let processes = state()?.processes;
    let names: Vec<_> = processes
        .iter()
        .map(|process| process.name.as_str())
        .collect();
    assert_eq!(names, ["agent-n1", "agent-n2", "controller"]);
    ensure!(nettoll(&["status"])?.status.success());
    let victim = processes[0].identity;
    let killed = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -9 {}", victim.pid))
        .status()?;
    ensure!(killed.success());
    let deadline = Instant::now() + Duration::from_secs(5);
    while victim.is_running() {
        ensure!(Instant::now() < deadline, "the agent survived a SIGKILL");
        thread::sleep(Duration::from_millis(5));
    }
    let status = nettoll(&["status"])?;
    assert_eq!(status.status.code(), Some(1));
    assert!(String::from_utf8(status.stderr)?.contains("agent-n1 gone"));
    // Another one on top of the broken one.
    let _second = up()?;
    let running = |identity: Identity| identity.is_running();
    assert!(!processes.iter().any(|process| running(process.identity)));
    let processes = state()?.processes;
    assert!(processes.iter().all(|process| running(process.identity)));
    drop(down);
    assert!(!processes.iter().any(|process| running(process.identity)));
    nothing_left()
}
