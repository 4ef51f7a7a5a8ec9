//! Faults that a test makes and takes back, whatever becomes of it.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::version::AGENT_PRODUCT;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    NAMESPACE, NETNS, Pod, authority::Identity, eventually, get, kit, kubectl, on, process::Process,
};

/// For a pod to be replaced by another one that is ready.
const REPLACED: Duration = Duration::from_secs(60);

/// Kills a pod's process, as the kernel does it when memory runs out.
///
/// # Errors
/// Where it cannot be signalled.
pub fn kill(process: &Process) -> Result<()> {
    crate::signal(process.id().context("no process")?, libc::SIGKILL)
}

/// The API server, stopped.
pub struct StoppedApi {
    pid: i32,
}

impl StoppedApi {
    /// Stops it where it stands: connections stay open and nothing is answered.
    ///
    /// # Errors
    /// Where the kit does not tell of it.
    pub fn new() -> Result<Self> {
        let output = Command::new(kit()?).arg("status").output()?;
        let status = String::from_utf8(output.stdout)?;
        let cluster = status.split_once("cluster:").context("no cluster")?.1;
        let mut words = cluster.split_whitespace();
        words.by_ref().find(|word| *word == "kube-apiserver");
        // As in `kube-apiserver pid 123, 456 MB`.
        let pid = words.nth(1).context("no API server")?;
        let pid = pid.trim_end_matches(',').parse()?;
        crate::signal(pid, libc::SIGSTOP)?;
        Ok(Self { pid })
    }
}

impl Drop for StoppedApi {
    fn drop(&mut self) {
        let _ = crate::signal(self.pid, libc::SIGCONT);
    }
}

/// A node's cable, cut.
pub struct CutLink {
    node: String,
}

impl CutLink {
    /// Cuts it at the switch, so that the node's own device stays up.
    ///
    /// # Errors
    /// Where there is no such cable.
    pub fn new(node: &str) -> Result<Self> {
        set(node, "down")?;
        Ok(Self {
            node: node.to_owned(),
        })
    }
}

impl Drop for CutLink {
    fn drop(&mut self) {
        let _ = set(&self.node, "up");
    }
}

fn set(node: &str, state: &str) -> Result<()> {
    let arguments = ["-n", NETNS, "link", "set", node, state];
    let status = Command::new("ip").args(arguments).status()?;
    ensure!(status.success(), "ip {}: {status}", arguments.join(" "));
    Ok(())
}

/// A node that is being emptied, as before it is taken out of service.
pub struct Drained {
    node: String,
}

impl Drained {
    /// Cordons it and evicts its pods, those of DaemonSets left out; they are gone when this
    /// returns.
    ///
    /// # Errors
    /// As [`kubectl`], and where a pod does not go in time.
    pub fn new(node: &str) -> Result<Self> {
        let drained = Self {
            node: node.to_owned(),
        };
        let timeout = format!("--timeout={}s", REPLACED.as_secs());
        kubectl(&["drain", node, "--ignore-daemonsets", "--force", &timeout])?;
        Ok(drained)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let _ = kubectl(&["uncordon", &self.node]);
    }
}

/// Puts a certificate in the place of the agents' one, in their Secret.
///
/// # Errors
/// As [`kubectl`].
pub fn put_certificate(identity: &Identity) -> Result<()> {
    patch_secret(&json!({ "stringData": {
        "tls.crt": identity.certificate_pem,
        "tls.key": identity.key_pem,
    }}))
}

/// The agents' Secret in the hands of somebody who is not the controller.
pub struct ForeignSecret(());

impl ForeignSecret {
    /// Takes the controller's label away and puts a certificate of one's own.
    ///
    /// # Errors
    /// As [`kubectl`].
    pub fn with(identity: &Identity) -> Result<Self> {
        let foreign = Self(());
        manage(None)?;
        put_certificate(identity)?;
        Ok(foreign)
    }
}

impl Drop for ForeignSecret {
    /// From now on the controller looks after it again.
    fn drop(&mut self) {
        let _ = manage(Some("nettoll"));
    }
}

fn manage(by: Option<&str>) -> Result<()> {
    patch_secret(&json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": by }}}))
}

fn patch_secret(patch: &Value) -> Result<()> {
    let patch = patch.to_string();
    let secret = ["patch", "secret", "-n", NAMESPACE, "nettoll-agent-tls"];
    kubectl(&[&secret[..], &["-p", &patch]].concat()).map(drop)
}

/// A node whose agent is of another version, as in the middle of an update.
pub struct OtherVersion {
    /// The agent's pod.
    pod: String,
    /// What the agents' DaemonSet was before.
    spec: Value,
    _binary: TempDir,
}

impl OtherVersion {
    /// How the agent names itself.
    pub const NAME: &'static str = "nettoll-agent/9.1.0";

    /// Has the node run the lane's own agent, with another number in what it calls itself, and
    /// waits until it is ready.
    ///
    /// # Errors
    /// As [`kubectl`], and where the agent does not start.
    pub fn on(node: &str) -> Result<Self> {
        let before = on("agent", node)?;
        let binary = tempfile::tempdir()?;
        write_other(&binary.path().join("nettoll-agent"), &before)?;
        let spec = get(&["daemonset", "-n", NAMESPACE, "nettoll-agent"])?["spec"].clone();
        let mut other = spec.clone();
        other["updateStrategy"] = json!({ "type": "OnDelete" });
        let pod = &mut other["template"]["spec"];
        let volume = json!({ "name": "other", "hostPath": { "path": binary.path() } });
        let mount = json!({ "name": "other", "mountPath": "/other", "readOnly": true });
        let container = &mut pod["containers"][0];
        container["command"][0] = "/other/nettoll-agent".into();
        push(&mut container["volumeMounts"], mount)?;
        push(&mut pod["volumes"], volume)?;
        let mut changed = Self {
            pod: before.name,
            spec,
            _binary: binary,
        };
        set_daemonset(&other)?;
        delete(&changed.pod)?;
        changed.pod = eventually(REPLACED, || {
            let pod = on("agent", node)?;
            ensure!(
                pod.uid != before.uid && pod.ready,
                "{} is not ready",
                pod.name
            );
            Ok(pod.name)
        })?;
        Ok(changed)
    }
}

impl Drop for OtherVersion {
    fn drop(&mut self) {
        let _ = set_daemonset(&self.spec);
        let _ = delete(&self.pod);
    }
}

/// Deletes a pod of the product. Its object is gone at once: kubelet ends the process in half a
/// second, and takes up to half a minute (1.20 looks every ten seconds) until it lets the object
/// go, which the pod's successor waits for.
fn delete(pod: &str) -> Result<()> {
    let delete = ["delete", "pod", "-n", NAMESPACE, "--wait=false"];
    kubectl(&[&delete[..], &["--force", "--grace-period=0", pod]].concat()).map(drop)
}

fn push(list: &mut Value, one: Value) -> Result<()> {
    list.as_array_mut().context("no list")?.push(one);
    Ok(())
}

fn set_daemonset(spec: &Value) -> Result<()> {
    let patch = ["updateStrategy", "template"].map(
        |part| json!({ "op": "replace", "path": format!("/spec/{part}"), "value": spec[part] }),
    );
    let patch = json!(patch).to_string();
    let agent = ["patch", "daemonset", "-n", NAMESPACE, "nettoll-agent"];
    kubectl(&[&agent[..], &["--type=json", "-p", &patch]].concat()).map(drop)
}

/// The image's agent, as a pod has it, which calls itself [`OtherVersion::NAME`].
fn write_other(to: &Path, agent: &Pod) -> Result<()> {
    let from = Process::of(&agent.uid, "nettoll-agent")?.file("/nettoll-agent");
    let own = format!("{AGENT_PRODUCT}{}", env!("CARGO_PKG_VERSION"));
    let (own, other) = (own.as_bytes(), OtherVersion::NAME.as_bytes());
    ensure!(
        own.len() == other.len(),
        "a version of as many bytes is needed"
    );
    let mut program = fs::read(&from).with_context(|| from.display().to_string())?;
    let mut at = program.windows(own.len()).enumerate();
    let at = at.find_map(|(at, bytes)| (bytes == own).then_some(at));
    let at = at.context("the agent does not name its version")?;
    program[at..at + other.len()].copy_from_slice(other);
    fs::write(to, program)?;
    // `fs::copy` keeps permissions, `fs::write` does not.
    fs::set_permissions(to, fs::metadata(&from)?.permissions())?;
    Ok(())
}
