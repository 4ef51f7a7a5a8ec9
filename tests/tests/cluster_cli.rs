//! The command line against a real cluster: `nettoll` and `kubectl nettoll` reach the leader over
//! the API server, with the rights of deploy/samples/user.yaml and no other.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{endpoint::PathKind, finding::findings, report::Report};
use nettoll_tests::{
    BIN_DIR, binary,
    cluster::{
        NAMESPACE, Space, apply, eventually, kit, kubectl, kubectl_with, pair, pods,
        process::Process,
    },
    deploy, signal,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The first test's namespace, and its user's.
const SPACE: &str = "nettoll-test-cli";
/// The other's: nothing waits for the end of the first.
const OTHER: &str = "nettoll-test-end";
/// The one of services.
const SERVICES: &str = "nettoll-test-nat";
/// For a job to be cancelled at the controller and its agents.
const CANCELLED: Duration = Duration::from_secs(10);

/// Somebody with an account of his own in the cluster.
struct User {
    space: String,
    folder: TempDir,
}

impl User {
    /// Without any right.
    fn new(space: &Space) -> Result<Self> {
        let name = space.name();
        kubectl(&["create", "serviceaccount", "-n", name, "user"])?;
        let path = format!("/api/v1/namespaces/{name}/serviceaccounts/user/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {},
        });
        let answer = kubectl_with(&["create", "--raw", &path, "-f", "-"], &request.to_string())?;
        let answer: Value = serde_json::from_str(&answer)?;
        let view = kubectl(&["config", "view", "--raw", "-o", "json"])?;
        let mut config: Value = serde_json::from_str(&view)?;
        config["users"][0]["user"] = json!({ "token": answer["status"]["token"] });
        let user = Self {
            space: name.to_owned(),
            folder: tempfile::tempdir()?,
        };
        // JSON is YAML.
        fs::write(user.kubeconfig(), config.to_string())?;
        Ok(user)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// Gives rules of the namespace of nettoll.
    fn may(&self, role: &str) -> Result<()> {
        let group = "{kind: Group, name: nettoll-users, apiGroup: rbac.authorization.k8s.io}";
        let space = &self.space;
        let account = format!("{{kind: ServiceAccount, name: user, namespace: {space}}}");
        ensure!(role.contains(group), "the sample names no group");
        kubectl_with(&["apply", "-f", "-"], &role.replace(group, &account)).map(drop)
    }

    /// A program as this user starts it, on a machine that reaches the API server.
    fn command(&self, program: &Path) -> Result<Command> {
        let folder = env::var(BIN_DIR)?;
        let assets = env::var("KUBEBUILDER_ASSETS").context("KUBEBUILDER_ASSETS is not set")?;
        let mut command = Command::new(kit()?);
        command.args(["exec", "cp"]).arg(program);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.folder.path())
            .env("PATH", format!("{folder}:{assets}:/usr/bin:/bin"))
            .env_remove("NETTOLL_CONTROLLER");
        Ok(command)
    }

    fn nettoll(&self, arguments: &[&str]) -> Result<Output> {
        // Naming a cluster keeps it from looking for a lab on this machine.
        let mut command = self.command(&binary("nettoll")?)?;
        let command = command.args(arguments).args(["--namespace", NAMESPACE]);
        command.output().context("cannot start nettoll")
    }
}

impl Drop for User {
    fn drop(&mut self) {
        for kind in ["role", "rolebinding"] {
            let arguments = ["delete", "--ignore-not-found", "-n", NAMESPACE, kind];
            let _ = kubectl(&[&arguments[..], &["nettoll-user"]].concat());
        }
    }
}

/// A second of requests between the test's two pods, with the probe in all rounds.
const TEST: [&str; 15] = [
    "test",
    "--from",
    "pod/nettoll-test-cli/one",
    "--to",
    "pod/nettoll-test-cli/two",
    "--type",
    "tcp_rr",
    "--seconds",
    "1",
    "--probe",
    "on",
    "--sample-hz",
    "0",
    "-o",
    "json",
];

fn refused(output: &Output, words: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{}: {said}", output.status);
    ensure!(said.contains(words), "{said}");
    Ok(())
}

#[test]
fn whoever_may_forward_the_leaders_port_measures_any_pods() -> Result<()> {
    let (space, [_, two]) = pair(SPACE)?;
    let user = User::new(&space)?;
    let sample = deploy::read("samples/user.yaml")?;

    // Every right is needed, and its absence is told.
    refused(&user.nettoll(&TEST)?, "refuses to read who leads")?;
    user.may(&sample.replace("pods/portforward", "pods/log"))?;
    let forbidden = user.nettoll(&TEST)?;
    refused(&forbidden, "refuses to forward the controller's port")?;
    refused(&forbidden, "deploy/samples/user.yaml")?;
    user.may(&sample)?;

    let output = user
        .command(Path::new("kubectl"))?
        .arg("nettoll")
        .args(TEST)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Report = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no report: {}: {said}", output.status))?;
    let run = report
        .runs
        .iter()
        .find(|run| run.path.kind == PathKind::PodToPod);
    let run = run.context("no run between the pods")?;
    let ends = [&run.path.from, &run.path.to].map(ToString::to_string);
    assert_eq!(
        ends,
        ["pod/nettoll-test-cli/one", "pod/nettoll-test-cli/two"]
    );
    let stages = run.stages.iter().flatten();
    let encap = stages.filter(|stage| stage.stage == "encap").count();
    ensure!(encap > 0, "no encap in {:?}", run.stages);
    // No toll is asked of a second on a machine that may be busy.
    ensure!(run.rtt_ns.is_some(), "no round trips");

    // What is wrong on a pod's own device is found, though no agent lists pods.
    let device = ["-n", "ip", "link", "set", "eth0", "mtu", "1300"];
    let pid = Process::of(&two.uid, "sleep")?.id().context("no process")?;
    let status = Command::new("nsenter")
        .args(["-t", &pid.to_string()])
        .args(device)
        .status()?;
    ensure!(status.success(), "{status}");
    let output = user.nettoll(&TEST)?;
    let narrow: Report = serde_json::from_slice(&output.stdout).context("no report")?;
    let differs = |report: &Report| {
        let found = findings(report, &report.runs);
        let rules: Vec<_> = found.iter().map(|found| found.rule).collect();
        rules.contains(&"mtu-differs")
    };
    assert_eq!([differs(&report), differs(&narrow)], [false, true]);

    // The controller still has it, as it was.
    let kept = user.nettoll(&["report", "--run", &run.id, "-o", "json"])?;
    let kept: Report = serde_json::from_slice(&kept.stdout).context("no report")?;
    assert_eq!(kept.runs.iter().find(|kept| kept.id == run.id), Some(run));

    // What makes no sense is refused by the controller, in its words.
    let unknown = TEST.map(|word| word.replace("cli/two", "cli/absent"));
    refused(
        &user.nettoll(&unknown.each_ref().map(String::as_str))?,
        "there is no pod/nettoll-test-cli/absent",
    )?;

    // From another pod the API is not there, whatever its rights.
    for pod in pods("controller")? {
        let reach = |port: &str| {
            let page = format!("http://{}:{port}/healthz", pod.address);
            let get = ["exec", "-n", SPACE, "one", "--", "kit-helper", "get", &page];
            kubectl(&get).map_err(|error| format!("{error:#}"))
        };
        let closed = reach("9472").err().context("the API is open")?;
        ensure!(closed.contains("refused"), "{closed}");
        ensure!(reach("9471").is_ok(), "no metrics");
    }
    Ok(())
}

/// Makes a service over the pods with a label, with a port on each node.
fn service(name: &str, pods: &Value) -> Result<()> {
    apply(&json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": SERVICES },
        "spec": {
            "type": "NodePort",
            "selector": pods,
            "ports": [{ "port": 80, "targetPort": 9489 }],
        },
    }))
}

#[test]
fn the_probe_follows_packets_through_the_rules_of_kube_proxy() -> Result<()> {
    let (space, _) = pair(SERVICES)?;
    let user = User::new(&space)?;
    user.may(&deploy::read("samples/user.yaml")?)?;
    kubectl(&["label", "pod", "-n", space.name(), "--all", "in=both"])?;
    service("both", &json!({ "in": "both" }))?;
    service("self", &json!({ "pod": "one" }))?;
    let one = "pod/nettoll-test-nat/one";
    for (from, to, kind, tunnel) in [
        (one, "both", PathKind::PodToService, true),
        ("node/n1", "both", PathKind::HostToService, true),
        (one, "self", PathKind::Hairpin, false),
        (one, "both@n2", PathKind::NodePort, true),
    ] {
        let to = format!("service/{SERVICES}/{to}");
        let arguments = TEST.map(|word| match word {
            "pod/nettoll-test-cli/one" => from,
            "pod/nettoll-test-cli/two" => &to,
            word => word,
        });
        // Rules and endpoints take a moment to be everywhere.
        eventually(CANCELLED, || {
            let output = user.nettoll(&arguments)?;
            let said = String::from_utf8_lossy(&output.stderr);
            let report: Report = serde_json::from_slice(&output.stdout)
                .with_context(|| format!("no report: {}: {said}", output.status))?;
            let run = report.runs.iter().find(|run| run.path.kind == kind);
            let run = run.with_context(|| format!("no run of kind {kind}"))?;
            let stages = || run.stages.iter().flatten();
            let names: Vec<_> = stages().map(|stage| &*stage.stage).collect();
            println!("{from} {to}: closure {:?}", run.closure);
            for (stage, there) in [("socket_rx", true), ("bridge", true), ("encap", tunnel)] {
                ensure!(names.contains(&stage) == there, "{stage}: {names:?}");
            }
            // Both nodes are one kernel.
            let closure = run.closure.context("no closure")?;
            ensure!(
                (0.95..=1.05).contains(&closure),
                "{to}: {closure} {names:?}"
            );
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn ctrl_c_ends_the_job_in_the_cluster() -> Result<()> {
    let (space, _) = pair(OTHER)?;
    let user = User::new(&space)?;
    user.may(&deploy::read("samples/user.yaml")?)?;
    let short = TEST.map(|word| word.replace(SPACE, OTHER));
    let short = short.each_ref().map(String::as_str);
    let long = short.map(|word| if word == "1" { "600" } else { word });
    let mut child = user
        .command(&binary("nettoll")?)?
        .args(long)
        .args(["--namespace", NAMESPACE])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
    let first = lines.next().context("it said nothing")??;
    ensure!(first.contains("rounds, about"), "{first}");
    refused(&user.nettoll(&short)?, "busy with another job")?;
    signal(i32::try_from(child.id())?, libc::SIGINT)?;
    assert_eq!(child.wait()?.code(), Some(130));
    // Nothing is left of it: the next one runs.
    eventually(CANCELLED, || {
        let output = user.nettoll(&short)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.stdout.is_empty(), "{said}");
        Ok(())
    })
}
