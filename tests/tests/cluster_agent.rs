//! The agents and endpoint pods of a real cluster, as the manifests make them.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::api::{
    AGENT_TLS_NAME, AgentInfo, CONTROLLER_TLS_NAME, MAX_BODY_BYTES, ResolveRequest, Resolved,
};
use nettoll_tests::cluster::{
    NAMESPACE, Pod, Space,
    agent::NodeAgent,
    authority::{Authority, Life},
    eventually, fault, kubectl, pods,
    process::Process,
    sync,
};

/// For everything to be ready after the manifests were applied.
const READY: Duration = Duration::from_secs(60);
const PROGRAM: &str = "nettoll-agent";

/// The ready agents of both nodes.
fn agents() -> Result<Vec<Pod>> {
    eventually(READY, || {
        let agents = pods("agent")?;
        ensure!(
            agents.len() == 2 && agents.iter().all(|agent| agent.ready),
            "not all agents are ready: {agents:#?}"
        );
        Ok(agents)
    })
}

fn on(pods: Vec<Pod>, node: &str) -> Result<Pod> {
    let found = pods.into_iter().find(|pod| pod.node == node && pod.ready);
    found.with_context(|| format!("no ready pod on {node}"))
}

#[test]
fn each_node_has_an_agent_that_knows_it() -> Result<()> {
    let authority = Authority::of_cluster()?;
    let controller = authority.sign(CONTROLLER_TLS_NAME, Life::Now)?;
    for pod in agents()? {
        let agent = NodeAgent::of(&pod, &authority)?;
        let (status, body) = agent.ask(Some(&controller), "GET", "/v1/info", "")?;
        ensure!(status == 200, "{status} {body}");
        let info: AgentInfo = serde_json::from_str(&body)?;
        assert_eq!(info.context.node, pod.node);
        assert_eq!(info.context.cni.as_deref(), Some("flannel-like"));
        assert_eq!(info.probe_unavailable, None);
        let (_, metrics) = agent.page("/metrics")?;
        for hook in ["net_dev_queue", "net_dev_start_xmit", "netif_receive_skb"] {
            let ready = format!("nettoll_hook_state{{hook=\"{hook}\",state=\"ready\"");
            ensure!(metrics.contains(&ready), "{hook}\n{metrics}");
        }
    }
    Ok(())
}

#[test]
fn a_pod_is_found_by_its_uid() -> Result<()> {
    let authority = Authority::of_cluster()?;
    let controller = authority.sign(CONTROLLER_TLS_NAME, Life::Now)?;
    let space = Space::new("nettoll-test-uid", false)?;
    space.start("plain", "n1")?;
    let plain = space.ready("plain")?;
    let endpoint = on(pods("endpoint-a")?, "n1")?;
    let agent = NodeAgent::of(&on(agents()?, "n1")?, &authority)?;
    let resolve = |pod: &Pod, space: &str, uid: &str| {
        let ask = ResolveRequest {
            endpoint: format!("pod/{space}/{}", pod.name).parse()?,
            pod_uid: Some(uid.to_owned()),
            local_address: pod.address.parse()?,
            peer_address: "198.18.2.1".parse()?,
            peer_node_address: Some("198.19.0.12".parse()?),
        };
        let body = serde_json::to_string(&ask)?;
        agent.ask(Some(&controller), "POST", "/v1/resolve", &body)
    };
    for (pod, in_space, program) in [
        (&plain, space.name(), "sleep"),
        (&endpoint, NAMESPACE, PROGRAM),
    ] {
        let (status, body) = resolve(pod, in_space, &pod.uid)?;
        ensure!(status == 200, "{status} {body}");
        let Resolved {
            netns,
            devices,
            settings,
        } = serde_json::from_str(&body)?;
        assert_eq!(u64::from(netns), Process::of(&pod.uid, program)?.netns()?);
        let names: Vec<_> = settings.iter().map(|device| &*device.name).collect();
        assert!(names.contains(&"eth0"), "{names:?}");
        let place = format!("pod/{in_space}/{}", pod.name);
        assert!(
            settings.iter().all(|device| device.place == place),
            "{settings:?}"
        );
        let kinds: Vec<_> = devices.iter().map(|device| device.kind.as_str()).collect();
        assert!(devices.iter().any(|device| device.endpoint), "{devices:?}");
        for kind in ["veth", "bridge", "vxlan"] {
            assert!(kinds.contains(&kind), "{kinds:?}");
        }
    }
    let (status, body) = resolve(&plain, space.name(), "00000000-0000-0000-0000-000000000000")?;
    assert!((400..500).contains(&status), "{status} {body}");
    Ok(())
}

#[test]
fn nobody_but_the_controller_is_answered() -> Result<()> {
    let authority = Authority::of_cluster()?;
    let agent = NodeAgent::of(&on(agents()?, "n2")?, &authority)?;
    let ask = |identity: &_| agent.ask(Some(identity), "GET", "/v1/info", "");
    for (what, identity) in [
        ("an agent's", authority.sign(AGENT_TLS_NAME, Life::Now)?),
        (
            "another name's",
            authority.sign("controller.nettoll.example.org", Life::Now)?,
        ),
        (
            "an expired one",
            authority.sign(CONTROLLER_TLS_NAME, Life::Over)?,
        ),
        (
            "a future one",
            authority.sign(CONTROLLER_TLS_NAME, Life::Later)?,
        ),
        (
            "another CA's",
            Authority::unknown()?.sign(CONTROLLER_TLS_NAME, Life::Now)?,
        ),
    ] {
        assert!(ask(&identity).is_err(), "{what} was let in");
    }
    assert!(
        agent.ask(None, "GET", "/v1/info", "").is_err(),
        "no certificate"
    );
    assert!(agent.ask_plainly("/v1/info").is_err(), "no TLS");
    let controller = authority.sign(CONTROLLER_TLS_NAME, Life::Now)?;
    assert_eq!(ask(&controller)?.0, 200);
    let large = " ".repeat(MAX_BODY_BYTES + 1);
    let answer = agent.ask(Some(&controller), "POST", "/v1/runs", &large);
    // Refused by the announced length: the agent may close while we still send.
    assert!(answer.is_err() || answer.is_ok_and(|(status, _)| status == 413));
    assert_eq!(ask(&controller)?.0, 200, "and it serves on");
    Ok(())
}

#[test]
fn a_new_certificate_is_taken_without_a_restart() -> Result<()> {
    let authority = Authority::of_cluster()?;
    let controller = authority.sign(CONTROLLER_TLS_NAME, Life::Now)?;
    let before = on(agents()?, "n1")?;
    let agent = NodeAgent::of(&before, &authority)?;
    let new = authority.sign(AGENT_TLS_NAME, Life::Now)?;
    assert_ne!(agent.shows(&controller)?, new.certificate);
    fault::put_certificate(&new)?;
    sync(&before)?;
    eventually(Duration::from_secs(30), || {
        ensure!(
            agent.shows(&controller)? == new.certificate,
            "still the old one"
        );
        Ok(())
    })?;
    let after = on(agents()?, "n1")?;
    assert_eq!(
        (
            after.uid,
            after.object["status"]["containerStatuses"][0]["restartCount"].clone()
        ),
        (before.uid.clone(), before.restarts().into())
    );
    Ok(())
}

#[test]
fn an_endpoint_pod_ends_at_once() -> Result<()> {
    let pod = on(pods("endpoint-b")?, "n2")?;
    let process = Process::of(&pod.uid, PROGRAM)?;
    let begin = Instant::now();
    // Without waiting: an old kubelet tells the API of the end only when it next tells anything.
    kubectl(&["delete", "pod", "-n", NAMESPACE, &pod.name, "--wait=false"])?;
    while process.lives() {
        ensure!(
            begin.elapsed() < Duration::from_secs(3),
            "it needs the grace period"
        );
        sleep(Duration::from_millis(20));
    }
    // Only then comes the next one.
    eventually(2 * READY, || on(pods("endpoint-b")?, "n2").map(drop))
}

/// Bits of `linux/capability.h`: NET_ADMIN, SYS_PTRACE, SYS_ADMIN, SYSLOG, PERFMON, BPF.
const AGENT_CAPABILITIES: u64 = 1 << 12 | 1 << 19 | 1 << 21 | 1 << 34 | 1 << 38 | 1 << 39;
const SYSLOG: u64 = 1 << 34;
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

#[test]
fn a_container_may_do_what_its_manifest_says_and_no_more() -> Result<()> {
    for (component, program, capabilities, user, token) in [
        ("agent", PROGRAM, AGENT_CAPABILITIES, "0", false),
        ("endpoint-a", PROGRAM, 0, "65532", false),
        ("endpoint-b", PROGRAM, 0, "65532", false),
        ("controller", "nettoll-control", 0, "65532", true),
    ] {
        let pods = pods(component)?;
        assert_eq!(pods.len(), 2, "{component}");
        for pod in pods {
            let process = Process::of(&pod.uid, program)?;
            let status = process.status()?;
            for set in ["CapPrm", "CapEff", "CapBnd"] {
                let held = u64::from_str_radix(&status[set], 16)?;
                assert_eq!(held & !capabilities, 0, "{component}: {set} {held:x}");
                // The agent's first thread has given its own up.
                assert!(set == "CapBnd" || held == 0, "{component}: {held:x}");
            }
            if component == "agent" {
                let threads = process.threads()?;
                let holds = threads
                    .iter()
                    .find(|thread| thread.name() == "nettoll-orders");
                let held = holds
                    .context("no privileged thread")?
                    .capabilities("CapEff")?;
                // The kernel's symbols are open by now.
                assert_eq!(held, capabilities & !SYSLOG, "{held:x}");
            }
            assert_eq!(status["NoNewPrivs"], "1", "{component}");
            assert_eq!(status["Seccomp"], "2", "{component}");
            assert_eq!(status["Uid"].split_whitespace().next(), Some(user));
            assert!(process.root_is_read_only()?, "{component}");
            assert_eq!(process.file(TOKEN).exists(), token, "{component}");
            let privileged = &pod.object["spec"]["containers"][0]["securityContext"]["privileged"];
            assert!(privileged.is_null(), "{component}");
        }
    }
    Ok(())
}

#[test]
fn keys_are_for_their_owner_alone() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for pod in agents()? {
        let process = Process::of(&pod.uid, PROGRAM)?;
        let key = fs::metadata(process.file("/etc/nettoll/tls/..data/tls.key"))?;
        assert_eq!(key.permissions().mode() & 0o777, 0o400);
    }
    Ok(())
}
