//! `cargo xtask manifests`: what is made of the manifests and kept beside them.
//!
//! The Helm chart comes from what kustomize makes of `deploy/overlays`, and the alerts of the
//! Prometheus operator from the rules file: neither is kept by hand. `--check` writes nothing and
//! fails where a file is not what it would write.

mod chart;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{exec, places::Places, setup, stop::Stop};

/// The chart's folder. It holds generated files and nothing else.
const CHART: &str = "deploy/helm/nettoll";
/// What the chart makes with its default values.
const DEFAULT: &str = "deploy/overlays/default";
/// What it makes besides with `prometheusOperator`.
const OPERATOR: &str = "deploy/overlays/prometheus-operator";
/// The rules for Prometheus, and the same as the operator takes them.
const RULES: [&str; 2] = [
    "deploy/alerts/nettoll.rules.yaml",
    "deploy/overlays/prometheus-operator/alerts.yaml",
];

/// `cargo xtask manifests`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail where a file is stale
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: Args, places: &Places) -> Result<()> {
    let Args { check } = args;
    let kubectl = kubectl()?;
    let root = &places.root;
    let [rules, alerts] = RULES.map(|file| root.join(file));
    let of_operator = (alerts, chart::prometheus_rule(&read(&rules)?));
    // The overlay below includes it.
    let mut stale = settle(BTreeMap::from([of_operator]), check)?;
    let files = chart::files(
        &kustomize(&kubectl, &root.join(DEFAULT))?,
        &kustomize(&kubectl, &root.join(OPERATOR))?,
    )?;
    let folder = root.join(CHART);
    let files = files
        .into_iter()
        .map(|(name, text)| (folder.join(name), text));
    let files: BTreeMap<_, _> = files.collect();
    for file in existing(&folder)? {
        if !files.contains_key(&file) {
            stale.push(file.clone());
            if !check {
                fs::remove_file(&file)
                    .with_context(|| format!("cannot remove {}", file.display()))?;
            }
        }
    }
    stale.extend(settle(files, check)?);
    if check {
        let names: Vec<_> = stale
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        ensure!(
            names.is_empty(),
            "not what 'cargo xtask manifests' writes: {}",
            names.join(", ")
        );
    }
    for file in stale {
        println!("{}", file.display());
    }
    Ok(())
}

/// Writes what differs, unless this is a check; returns what differed.
fn settle(files: BTreeMap<PathBuf, String>, check: bool) -> Result<Vec<PathBuf>> {
    let mut stale = Vec::new();
    for (file, text) in files {
        if fs::read_to_string(&file).is_ok_and(|old| old == text) {
            continue;
        }
        if !check {
            let folder = file.parent().context("a file without a folder")?;
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&file, text))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        stale.push(file);
    }
    Ok(stale)
}

/// The files in a folder and in the folders in it.
fn existing(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    let entries = fs::read_dir(folder);
    for entry in entries.with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(existing(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn kustomize(kubectl: &Path, overlay: &Path) -> Result<String> {
    exec::ask(Command::new(kubectl).arg("kustomize").arg(overlay))
        .with_context(|| format!("kubectl kustomize {} failed", overlay.display()))
}

/// `KUBECTL`, the one on `PATH`, or the one of `KUBEBUILDER_ASSETS`.
fn kubectl() -> Result<PathBuf> {
    if let Some(file) = env::var_os("KUBECTL").filter(|file| !file.is_empty()) {
        let file = PathBuf::from(file);
        if setup::can_start(&file) {
            return Ok(file);
        }
        let what = format!("KUBECTL names {}, which is no program", file.display());
        return Err(Stop::Prerequisite(what).into());
    }
    let of_assets = || {
        let file = Path::new(&env::var_os("KUBEBUILDER_ASSETS")?).join("kubectl");
        file.is_file().then_some(file)
    };
    setup::find_program("kubectl")
        .or_else(of_assets)
        .ok_or_else(|| {
            let what = "there is no kubectl: install it, or name one in KUBECTL";
            Stop::Prerequisite(what.to_owned()).into()
        })
}
