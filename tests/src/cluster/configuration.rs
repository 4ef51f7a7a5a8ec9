//! A ConfigMap of the product, changed for a test.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{NAMESPACE, eventually, get, kubectl, pods, process::Process};

/// Other settings of the controllers, until this is dropped.
#[derive(Debug)]
pub struct Configured {
    before: String,
}

const MAP: &str = "nettoll-controller";
const FILE: &str = "controller.toml";
/// Where controllers have it.
const PATH: &str = "/etc/nettoll/config/controller.toml";
/// A kubelet that missed the change of the pod looks again within a minute and a half.
const SEEN: Duration = Duration::from_secs(90);

impl Configured {
    /// Adds to the controllers' file, and waits until all of them see it. They take it up within some
    /// seconds.
    ///
    /// # Errors
    /// As [`kubectl`], and where one does not see it in time.
    pub fn with(more: &str) -> Result<Self> {
        let map = get(&["configmap", MAP, "-n", NAMESPACE])?;
        let before = map["data"][FILE].as_str().context("no configuration")?;
        let this = Self {
            before: before.to_owned(),
        };
        let text = format!("{before}\n{more}");
        write(&text)?;
        seen(&text)?;
        Ok(this)
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        if let Err(error) = write(&self.before).and_then(|()| seen(&self.before)) {
            eprintln!("the controllers keep another configuration: {error:#}");
        }
    }
}

/// Waits until all controllers that there are have it.
fn seen(text: &str) -> Result<()> {
    eventually(SEEN, || {
        for pod in pods("controller")? {
            let file = Process::of(&pod.uid, "nettoll-control")?.file(PATH);
            let told = fs::read_to_string(file)?;
            ensure!(told == text, "{} has another one", pod.name);
        }
        Ok(())
    })
}

fn write(text: &str) -> Result<()> {
    let patch = json!({"data": {FILE: text}}).to_string();
    kubectl(&["patch", "configmap", MAP, "-n", NAMESPACE, "-p", &patch])?;
    // The kubelet looks at the volumes of a pod that changes at once, at others within a minute.
    let note = format!("test.nettoll.dev/length={}", text.len());
    for pod in pods("controller")? {
        kubectl(&[
            "annotate",
            "--overwrite",
            "pod",
            &pod.name,
            "-n",
            NAMESPACE,
            &note,
        ])?;
    }
    Ok(())
}
