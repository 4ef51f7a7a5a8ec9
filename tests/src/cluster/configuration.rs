//! A ConfigMap of the product, changed for a test.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{NAMESPACE, get, kubectl, pods};

/// Other settings of the controllers, until this is dropped.
#[derive(Debug)]
pub struct Configured {
    before: String,
}

const MAP: &str = "nettoll-controller";
const FILE: &str = "controller.toml";

impl Configured {
    /// Adds to the controllers' file. They take it up within some seconds.
    ///
    /// # Errors
    /// As [`kubectl`].
    pub fn with(more: &str) -> Result<Self> {
        let map = get(&["configmap", MAP, "-n", NAMESPACE])?;
        let before = map["data"][FILE].as_str().context("no configuration")?;
        let this = Self {
            before: before.to_owned(),
        };
        write(&format!("{before}\n{more}"))?;
        Ok(this)
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        if let Err(error) = write(&self.before) {
            eprintln!("the controllers keep another configuration: {error:#}");
        }
    }
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
