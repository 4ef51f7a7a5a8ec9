//! A real cluster: what the tests `cluster_*.rs` share.
//!
//! `cargo xtask test --only cluster` brings one up with the kit that `NETTOLL_KIT` names, loads
//! the image and applies `deploy/overlays/kit`. The machine's own network does not reach it:
//! commands go through the kit, sockets are opened in the API server's network namespace.

pub mod agent;
pub mod authority;
pub mod configuration;
pub mod fault;
pub mod leader;
pub mod process;
pub mod prometheus;

use std::{
    env,
    path::PathBuf,
    process::Command,
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::output_of;

/// Names the kit's command.
pub const KIT: &str = "NETTOLL_KIT";
/// Where the product lives.
pub const NAMESPACE: &str = "nettoll";
/// The network namespace beside the API server.
pub const NETNS: &str = "kit-cp";
/// An image with a shell, on every node.
pub const TOOLS: &str = "registry.local/tools:1";
/// For everything to be ready after the manifests were applied.
const READY: Duration = Duration::from_secs(90);
/// Between two looks.
const POLL: Duration = Duration::from_millis(200);

/// The kit's command.
///
/// # Errors
/// Where there is none.
pub fn kit() -> Result<PathBuf> {
    env::var_os(KIT)
        .map(PathBuf::from)
        .with_context(|| format!("{KIT} is not set; run 'cargo xtask test --only cluster'"))
}

/// Runs kubectl as the cluster's administrator and returns what it printed.
///
/// # Errors
/// Where it fails, with what it said.
pub fn kubectl(arguments: &[&str]) -> Result<String> {
    kubectl_with(arguments, "")
}

/// Like [`kubectl`], with something on its standard input.
///
/// # Errors
/// As [`kubectl`].
pub fn kubectl_with(arguments: &[&str], input: &str) -> Result<String> {
    let what = format!("kubectl {}", arguments.join(" "));
    output_of(
        Command::new(kit()?).arg("kubectl").args(arguments),
        &what,
        input,
    )
}

/// Objects as JSON: the arguments of `kubectl get`.
///
/// # Errors
/// As [`kubectl`].
pub fn get(arguments: &[&str]) -> Result<Value> {
    let all: Vec<_> = ["get", "-o", "json"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    Ok(serde_json::from_str(&kubectl(&all)?)?)
}

/// Makes an object, or changes it.
///
/// # Errors
/// As [`kubectl`].
pub fn apply(object: &Value) -> Result<()> {
    kubectl_with(&["apply", "-f", "-"], &object.to_string()).map(drop)
}

/// The product's pods of one component, those that are going left out.
///
/// # Errors
/// As [`kubectl`].
pub fn pods(component: &str) -> Result<Vec<Pod>> {
    let label = format!("app.kubernetes.io/name=nettoll,app.kubernetes.io/component={component}");
    let list = get(&["pods", "-n", NAMESPACE, "-l", &label])?;
    let items = list["items"].as_array().context("no list of pods")?;
    Ok(items
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .map(Pod::of)
        .collect())
}

/// Waits until agents and controllers are ready on both nodes.
///
/// # Errors
/// Where they are not in time.
pub fn ready() -> Result<()> {
    eventually(READY, is_ready)
}

/// Whether they are now.
///
/// # Errors
/// Naming those that are not.
pub fn is_ready() -> Result<()> {
    for component in ["agent", "controller"] {
        let pods = pods(component)?;
        ensure!(
            pods.len() == 2 && pods.iter().all(|pod| pod.ready),
            "not all of {component} is ready: {:?}",
            pods.iter()
                .map(|pod| (&pod.name, pod.ready))
                .collect::<Vec<_>>()
        );
    }
    Ok(())
}

/// The product's pod of a component on a node.
///
/// # Errors
/// Where there is none.
pub fn on(component: &str, node: &str) -> Result<Pod> {
    let found = pods(component)?.into_iter().find(|pod| pod.node == node);
    found.with_context(|| format!("no {component} on {node}"))
}

/// Has kubelet look at a pod of the product at once, as it does when the pod changes: a changed
/// Secret is in its files then. Else that takes a minute or two.
///
/// # Errors
/// As [`kubectl`].
pub fn sync(pod: &Pod) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mark = format!("example.org/mark={}", now.as_millis());
    let name = pod.name.as_str();
    kubectl(&[
        "annotate",
        "pod",
        "-n",
        NAMESPACE,
        name,
        "--overwrite",
        &mark,
    ])
    .map(drop)
}

/// Two pods, `one` on n1 and `two` on n2, in a namespace that allows tests.
///
/// # Errors
/// Where they or the product are not ready in time.
pub fn pair(name: &str) -> Result<(Space, [Pod; 2])> {
    ready()?;
    let space = Space::new(name, true)?;
    space.start("one", "n1")?;
    space.start("two", "n2")?;
    let pods = [space.ready("one")?, space.ready("two")?];
    Ok((space, pods))
}

/// What tests ask of a pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its node.
    pub node: String,
    /// Its address; empty where it has none yet.
    pub address: String,
    /// Its node's address.
    pub node_address: String,
    /// It is ready.
    pub ready: bool,
    /// Everything.
    pub object: Value,
}

impl Pod {
    fn of(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let conditions = object["status"]["conditions"].as_array();
        let ready = conditions.is_some_and(|all| {
            all.iter()
                .any(|one| one["type"] == "Ready" && one["status"] == "True")
        });
        Self {
            name: text(&object["metadata"]["name"]),
            uid: text(&object["metadata"]["uid"]),
            node: text(&object["spec"]["nodeName"]),
            address: text(&object["status"]["podIP"]),
            node_address: text(&object["status"]["hostIP"]),
            ready,
            object: object.clone(),
        }
    }

    /// How often its first container was started again.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.object["status"]["containerStatuses"][0]["restartCount"]
            .as_u64()
            .unwrap_or_default()
    }

    /// An annotation of it.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.object["metadata"]["annotations"][key].as_str()
    }
}

/// Looks until there is something, and fails with the last reason after `patience`.
///
/// # Errors
/// What the last look said.
pub fn eventually<T>(patience: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let begin = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) if begin.elapsed() > patience => {
                return Err(error.context(format!("not within {} s", patience.as_secs())));
            }
            Err(_) => sleep(POLL),
        }
    }
}

/// A namespace for one test; it goes with this.
pub struct Space {
    name: String,
}

impl Space {
    /// Makes it. `allow`: tests may be run from and to its pods.
    ///
    /// # Errors
    /// As [`kubectl`].
    pub fn new(name: &str, allow: bool) -> Result<Self> {
        let space = Self {
            name: name.to_owned(),
        };
        kubectl(&["delete", "namespace", name, "--ignore-not-found"])?;
        let labels = json!({ "nettoll.dev/allow": allow.to_string() });
        apply(&json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": name, "labels": labels },
        }))?;
        Ok(space)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts a pod that sleeps, of an image that knows nothing of the product, with the label `pod`
    /// of its name.
    ///
    /// # Errors
    /// As [`kubectl`].
    pub fn start(&self, pod: &str, node: &str) -> Result<()> {
        apply(&json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": pod, "namespace": self.name, "labels": { "pod": pod } },
            "spec": {
                "nodeName": node,
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    { "name": "c", "image": TOOLS, "command": ["sleep", "100000"] },
                ],
            },
        }))
    }

    /// A pod of it.
    ///
    /// # Errors
    /// As [`kubectl`].
    pub fn pod(&self, pod: &str) -> Result<Pod> {
        Ok(Pod::of(&get(&["pod", "-n", &self.name, pod])?))
    }

    /// Waits until a pod of it is ready.
    ///
    /// # Errors
    /// Where it is not in time.
    pub fn ready(&self, pod: &str) -> Result<Pod> {
        eventually(Duration::from_secs(30), || {
            let pod = self.pod(pod)?;
            ensure!(pod.ready, "pod {} is not ready", pod.name);
            Ok(pod)
        })
    }
}

impl Space {
    /// Sets annotations of a pod, with any content.
    ///
    /// # Errors
    /// As [`kubectl`].
    pub fn annotate(&self, pod: &str, annotations: &Value) -> Result<()> {
        let patch = json!({ "metadata": { "annotations": annotations } }).to_string();
        let space = &self.name;
        kubectl(&[
            "patch",
            "pod",
            "-n",
            space,
            pod,
            "--type=merge",
            "-p",
            &patch,
        ])
        .map(drop)
    }

    /// Waits until a request was answered for good, and returns the state's word and the pod.
    ///
    /// # Errors
    /// Where it is not in time.
    pub fn answered(&self, pod: &str, patience: Duration) -> Result<(String, Pod)> {
        eventually(patience, || {
            let pod = self.pod(pod)?;
            let status = pod.annotation("nettoll.dev/status").unwrap_or_default();
            ensure!(
                ["done", "failed", "refused"].contains(&status),
                "the request is '{status}': {}",
                self.events(&pod.name)?.join("; ")
            );
            Ok((status.to_owned(), pod))
        })
    }

    /// What Events of the controller say of a pod: reason and message.
    ///
    /// # Errors
    /// As [`kubectl`].
    pub fn events(&self, pod: &str) -> Result<Vec<String>> {
        let about = format!("involvedObject.name={pod},source=nettoll-controller");
        let list = get(&["events", "-n", &self.name, "--field-selector", &about])?;
        let items = list["items"].as_array().context("no list of events")?;
        Ok(items
            .iter()
            .map(|event| {
                let text = |key: &str| event[key].as_str().unwrap_or_default();
                format!("{}: {}", text("reason"), text("message"))
            })
            .collect())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}
