//! The agent as a process: how it begins, what it needs, how it ends.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Output},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nettoll_core::{
    api::{AgentInfo, Prepared, RoundSide, RoundSpec},
    report::TestType,
};
use nettoll_lab::{Lab, Network, Options};
use nettoll_tests::{
    agent::{Agent, Certificates},
    binary,
    loopback::loopback,
    promtool::check_metrics,
    require_root,
};
use serde_json::Value;

/// Nobody's user and group.
const NOBODY: u32 = 65534;

/// A lab, in whose nodes a test starts agents itself.
fn bed() -> Result<(Lab, Certificates)> {
    require_root()?;
    let lab = Lab::up(&Options {
        network: Network::Vxlan,
        ..Options::default()
    })?;
    Ok((lab, Certificates::new()?))
}

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

/// Has a program run where bpf(2) is forbidden, as a container's seccomp profile can do it.
#[expect(unsafe_code, reason = "std has no seccomp")]
fn without_bpf(command: &mut Command) {
    let forbid = || {
        let step = |code, value, otherwise| libc::sock_filter {
            code: code as u16,
            jt: 0,
            jf: otherwise,
            k: value,
        };
        // The number of the call is the first member of `struct seccomp_data`.
        let mut steps = [
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            step(libc::BPF_JMP | libc::BPF_JEQ, libc::SYS_bpf as u32, 1),
            step(
                libc::BPF_RET,
                libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
                0,
            ),
            step(libc::BPF_RET, libc::SECCOMP_RET_ALLOW, 0),
        ];
        let program = libc::sock_fprog {
            len: steps.len() as u16,
            filter: steps.as_mut_ptr(),
        };
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: the kernel copies the program, which outlives the call.
        match unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec there is one system call, and no memory is allocated.
    unsafe { command.pre_exec(forbid) };
}

#[test]
fn the_doctor_names_what_forbids_the_probe() -> Result<()> {
    require_root()?;
    let mut command = Command::new(binary("nettoll-agent")?);
    command.args(["doctor", "-o", "json"]);
    without_bpf(&mut command);
    let output = command.output()?;
    assert_eq!(output.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let missing: Vec<_> = report["missing"]
        .as_array()
        .context("no list")?
        .iter()
        .collect();
    let told = missing[0].as_str().unwrap_or_default();
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(
        told.contains("forbidden in spite of the capabilities"),
        "{told}"
    );
    assert!(told.contains("seccomp (filtered)"), "{told}");
    let settings = report["settings"].as_array().context("no settings")?;
    for name in ["lockdown", "AppArmor", "SELinux", "seccomp"] {
        assert!(
            settings.iter().any(|setting| setting["name"] == name),
            "{name}"
        );
    }
    let hooks = report["hooks"].as_array().context("no hooks")?;
    let required = hooks
        .iter()
        .filter(|hook| hook["required"] == Value::Bool(true));
    for hook in required {
        assert_eq!(hook["reason"], "forbidden", "{hook}");
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
    let (lab, certificates) = bed()?;
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
    let (lab, certificates) = bed()?;
    let agent = Agent::start(&lab.plan().nodes[0], &certificates)?;
    let (status, page) = agent.page("/metrics")?;
    assert_eq!(status, 200);
    for text in [
        "# TYPE nettoll_agent_light_answers_total counter\nnettoll_agent_light_answers_total 0\n",
        "nettoll_hook_state{hook=\"net_dev_queue\",state=\"ready\",reason=\"attached\",tier=\"tp_btf\"} 1",
        "nettoll_build_info{version=",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    assert_eq!(agent.page("/readyz")?.0, 200);
    assert_eq!(agent.page("/")?.0, 404);
    Ok(())
}

#[test]
fn without_the_probe_it_says_so_and_tests_go_on() -> Result<()> {
    let (lab, certificates) = bed()?;
    let node = &lab.plan().nodes[0];
    let agent = Agent::start_with(node, &certificates, "probe = false")?;
    let off = "it is switched off by 'probe = false' in the agent's configuration";
    let ready = format!("ok, without the probe: {off}\n");
    assert_eq!(agent.page("/readyz")?, (200, ready));
    let info: AgentInfo = agent.ask("GET", "/v1/info", &())?;
    assert_eq!(info.probe_unavailable.as_deref(), Some(off));
    assert_eq!(info.profile_unavailable.as_deref(), Some(off));

    let spec = loopback(&agent, node, "plain", TestType::TcpRr)?;
    agent.ask::<Prepared>("POST", "/v1/runs", &spec)?;
    agent.ask::<()>("POST", "/v1/runs/plain/start", &())?;
    let mut round = RoundSpec {
        pair: 0,
        sequence: 0,
        probe: false,
        calibrate: None,
        seconds: 0.3,
    };
    agent.ask::<()>("POST", "/v1/runs/plain/begin", &round)?;
    let side: RoundSide = agent.ask("POST", "/v1/runs/plain/run", &round)?;
    assert!(side.transactions > 0 && side.rtt.is_some(), "{side:?}");
    agent.ask::<RoundSide>("POST", "/v1/runs/plain/end", &())?;
    // Who asks for it all the same is told, and gets no figures made of nothing.
    round.probe = true;
    let (status, body) = agent.request("POST", "/v1/runs/plain/begin", &round)?;
    assert!(status >= 400 && body.contains(off), "{status} {body}");
    agent.ask::<()>("DELETE", "/v1/runs/plain", &())?;

    let (_, page) = agent.page("/metrics")?;
    let hook = "nettoll_hook_state{hook=\"net_dev_queue\",state=\"unavailable\",reason=\"switched_off\",tier=\"tp_btf\"} 1";
    assert!(page.contains(hook), "{page}");
    for series in ["nettoll_agent_stage_packets_total{", "state=\"ready\""] {
        assert!(!page.contains(series), "{series}\n{page}");
    }
    check_metrics(&page)
}

/// The value of the series whose line begins with `series` and contains all of `labels`.
fn value(page: &str, series: &str, labels: &[&str]) -> Result<f64> {
    let wanted =
        |line: &&str| line.starts_with(series) && labels.iter().all(|label| line.contains(label));
    let line = page
        .lines()
        .find(wanted)
        .with_context(|| format!("no {series} {labels:?}\n{page}"))?;
    Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
}

#[test]
fn its_metrics_keep_what_ended_runs_counted() -> Result<()> {
    let (lab, certificates) = bed()?;
    let node = &lab.plan().nodes[0];
    let agent = Agent::start(node, &certificates)?;
    let round = RoundSpec {
        pair: 0,
        sequence: 0,
        probe: true,
        calibrate: None,
        seconds: 0.3,
    };
    let loopback_stage = [
        r#"path="loopback""#,
        r#"side="client""#,
        r#"direction="request""#,
        r#"stage="loopback""#,
        r#"device_kind="loopback""#,
    ];
    let packets = |page: &str| value(page, "nettoll_agent_stage_packets_total{", &loopback_stage);

    agent.ask::<Prepared>(
        "POST",
        "/v1/runs",
        &loopback(&agent, node, "probed", TestType::TcpRr)?,
    )?;
    agent.ask::<()>("POST", "/v1/runs/probed/start", &())?;
    agent.ask::<()>("POST", "/v1/runs/probed/begin", &round)?;
    let side: RoundSide = agent.ask("POST", "/v1/runs/probed/run", &round)?;
    agent.ask::<RoundSide>("POST", "/v1/runs/probed/end", &())?;
    let (_, live) = agent.page("/metrics")?;
    let requests = side.transactions as f64;
    assert!(requests > 100.0, "{side:?}");
    assert!(
        (packets(&live)? / requests - 1.0).abs() < 0.01,
        "{} of {requests}",
        packets(&live)?
    );
    let count = "nettoll_agent_stage_latency_seconds_count{";
    assert_eq!(value(&live, count, &loopback_stage)?, packets(&live)?);

    agent.ask::<()>("DELETE", "/v1/runs/probed", &())?;
    let (_, after) = agent.page("/metrics")?;
    assert_eq!(packets(&after)?, packets(&live)?);
    let program = [r#"program="net_dev_queue""#];
    assert!(value(&after, "nettoll_probe_runs_total{", &program)? >= requests);
    let series = |page: &str| page.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series(&after) <= 1_000 && series(&after) >= series(&live));
    check_metrics(&after)
}

#[test]
fn a_round_ends_with_the_connection_that_asked_for_it() -> Result<()> {
    let (lab, certificates) = bed()?;
    let node = &lab.plan().nodes[0];
    let agent = Agent::start(node, &certificates)?;
    let mut round = RoundSpec {
        pair: 0,
        sequence: 0,
        probe: false,
        calibrate: None,
        seconds: 0.2,
    };
    let prepare = |id: &str| -> Result<()> {
        let prepared: Prepared = agent.ask(
            "POST",
            "/v1/runs",
            &loopback(&agent, node, id, TestType::TcpRr)?,
        )?;
        assert!(prepared.flow.is_some());
        agent.ask("POST", &format!("/v1/runs/{id}/start"), &())
    };

    prepare("whole")?;
    agent.ask::<()>("POST", "/v1/runs/whole/begin", &round)?;
    let side: RoundSide = agent.ask("POST", "/v1/runs/whole/run", &round)?;
    assert!(side.transactions > 0, "{side:?}");
    agent.ask::<RoundSide>("POST", "/v1/runs/whole/end", &())?;
    agent.ask::<()>("DELETE", "/v1/runs/whole", &())?;

    prepare("left")?;
    round.seconds = 20.0;
    agent.ask::<()>("POST", "/v1/runs/left/begin", &round)?;
    let begin = Instant::now();
    agent.abandon(
        "POST",
        "/v1/runs/left/run",
        &round,
        Duration::from_millis(300),
    )?;
    loop {
        // It waits for a round that runs.
        let (status, body) = agent.request("POST", "/v1/runs/left/start", &())?;
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "the run goes on: {body}"
        );
        if status == 404 {
            return Ok(());
        }
        sleep(Duration::from_millis(20));
    }
}
