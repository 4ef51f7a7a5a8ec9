//! Nothing of a lab stays, however it ended, and nothing of anybody else goes with it.

use std::{
    fs,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_lab::{Binaries, Identity, Lab, Network, Options, files, netns, plan::PodNetwork};
use nettoll_tests::{
    bed::{Pair, nothing_left, options},
    binary, require_root,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(10);

fn nettoll(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary("nettoll")?);
    command.arg("lab").args(arguments);
    Ok(command)
}

fn succeed(output: &Output) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(())
}

/// Waits for something to become true.
fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        ensure!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[test]
fn up_and_down_can_be_repeated() -> Result<()> {
    require_root()?;
    succeed(&nettoll(&["up", "--no-processes"])?.output()?)?;
    let first = netns::inode("nettoll-n1");
    succeed(&nettoll(&["up", "--no-processes", "--network", "vxlan"])?.output()?)?;
    assert_ne!(netns::inode("nettoll-n1"), first);
    let status = nettoll(&["status", "-o", "json"])?.output()?;
    let status: Value = serde_json::from_slice(&status.stdout)?;
    assert_eq!(status["network"], "vxlan");
    let exit = nettoll(&["exec", "pod/lab/n2-b", "sh", "-c", "exit 7"])?.status()?;
    assert_eq!(exit.code(), Some(7));
    for _ in 0..2 {
        succeed(&nettoll(&["down"])?.output()?)?;
        nothing_left()?;
    }
    assert_eq!(nettoll(&["exec", "n1", "true"])?.status()?.code(), Some(2));
    Ok(())
}

#[test]
fn a_lab_goes_with_a_panic() -> Result<()> {
    require_root()?;
    let lab = Lab::up(&options(Network::Both))?;
    let caught = panic::catch_unwind(AssertUnwindSafe(move || {
        let _lab = lab;
        panic!("on purpose");
    }));
    assert!(caught.is_err());
    nothing_left()
}

#[test]
fn what_a_killed_up_left_is_taken_down() -> Result<()> {
    require_root()?;
    nettoll_lab::down(PATIENCE)?;
    // Killed at many moments: in the midst of `ip netns add`, between devices, near the end.
    for name in ["nettoll-cp", "nettoll-n1", "nettoll-n2-b"] {
        for delay_ms in [0, 5, 10, 20, 40] {
            let mut up = nettoll(&["up", "--no-processes"])?
                .stdout(Stdio::null())
                .spawn()?;
            until("a namespace", || netns::exists(name))?;
            thread::sleep(Duration::from_millis(delay_ms));
            up.kill()?;
            up.wait()?;
            if delay_ms % 10 == 0 {
                nettoll_lab::down(PATIENCE)?;
                nothing_left()?;
            }
        }
    }
    let lab = Lab::up(&options(Network::Both))?;
    Pair::new(&lab, PodNetwork::Vxlan)?;
    lab.down()?;
    nothing_left()
}

#[test]
fn processes_of_a_lab_end_with_it_and_no_others() -> Result<()> {
    require_root()?;
    let lab = Lab::up(&options(Network::Vxlan))?;
    let sleep = |mut command: Command| command.arg("600").spawn();
    let mut inside = sleep(nettoll_lab::command_in("n1-a", "sleep")?)?;
    let mut recorded = sleep(Command::new("sleep"))?;
    let mut recycled = sleep(Command::new("sleep"))?;
    let mut stranger = sleep(Command::new("sleep"))?;
    let identity = |child: &Child| {
        i32::try_from(child.id())
            .ok()
            .and_then(Identity::of)
            .context("no process")
    };
    let known = identity(&recorded)?;
    let mut earlier = identity(&recycled)?;
    earlier.start_ticks -= 1;
    // As if the agents had been written down and their pids were somebody else's by now.
    let path = files::path("state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path)?)?;
    state["processes"] = [known, earlier]
        .iter()
        .map(|identity| {
            serde_json::json!({
                "name": "agent-n1", "identity": identity, "netns": "nettoll-n1", "log": "/dev/null"
            })
        })
        .collect();
    fs::write(&path, serde_json::to_vec(&state)?)?;
    lab.down()?;
    nothing_left()?;
    for (child, ended) in [
        (&mut inside, true),
        (&mut recorded, true),
        (&mut recycled, false),
        (&mut stranger, false),
    ] {
        // The lab reaps children of this process itself: no handle then, ECHILD.
        let is_gone = !child.try_wait().is_ok_and(|status| status.is_none());
        if !is_gone {
            child.kill()?;
            child.wait()?;
        }
        assert_eq!(is_gone, ended);
    }
    Ok(())
}

/// A program that takes the agent's place and never becomes ready.
fn silent_agent(folder: &Path, script: &str) -> Result<Binaries> {
    let path = folder.join("silent");
    fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(Binaries {
        agent: path.clone(),
        controller: path,
    })
}

#[test]
fn an_agent_that_ends_is_shown_with_its_log() -> Result<()> {
    require_root()?;
    let folder = tempfile::tempdir()?;
    let processes = Some(silent_agent(
        folder.path(),
        "echo because of this >&2; exit 1",
    )?);
    let error = Lab::up(&Options {
        processes,
        ..options(Network::Both)
    })
    .err()
    .context("it came up")?;
    let text = error.to_string();
    assert!(text.contains("because of this"), "{text}");
    nothing_left()
}

#[test]
fn ctrl_c_takes_down_what_was_made() -> Result<()> {
    require_root()?;
    let folder = tempfile::tempdir()?;
    let binaries = silent_agent(folder.path(), "exec sleep 600")?;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut command = nettoll(&["up", "--agent"])?;
        command
            .arg(&binaries.agent)
            .arg("--controller")
            .arg(&binaries.controller);
        let mut up = command.spawn()?;
        until("processes", || files::path("controller.log").exists())?;
        send(&up, signal)?;
        let mut status = None;
        until("the end", || {
            status = up.try_wait().ok().flatten();
            status.is_some()
        })?;
        let status = status.context("no status")?;
        assert_eq!((status.code(), status.signal()), (Some(130), None));
        nothing_left()?;
    }
    Ok(())
}

fn send(child: &Child, signal: i32) -> Result<()> {
    #[expect(unsafe_code, reason = "the standard library sends SIGKILL only")]
    // SAFETY: kill takes two integers; the child was not waited for, so the pid is its own.
    let status = unsafe { libc::kill(i32::try_from(child.id())?, signal) };
    ensure!(status == 0, "kill: {}", std::io::Error::last_os_error());
    Ok(())
}

#[test]
fn without_root_each_command_says_what_it_lacks() -> Result<()> {
    require_root()?;
    nettoll_lab::down(PATIENCE)?;
    // Where an ordinary user can reach it.
    let folder = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()?;
    let program = folder.path().join("nettoll");
    fs::copy(binary("nettoll")?, &program)?;
    for arguments in [&["up"][..], &["down"], &["status"], &["exec", "n1", "true"]] {
        let mut command = Command::new(&program);
        let output = command
            .arg("lab")
            .args(arguments)
            .uid(65534)
            .gid(65534)
            .output()?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("run it with sudo"), "{said}");
    }
    nothing_left()
}
