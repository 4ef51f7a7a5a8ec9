//! The samples are what an API server takes, and ask for what the controller understands.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::annotation::{PAIR, PREFIX, Request};
use nettoll_tests::{
    cluster::{TOOLS, eventually, get, kubectl, kubectl_with, ready},
    deploy::{self, chart},
};
use serde_json::Value;

/// The samples, the first of each namespace first.
const SAMPLES: [&str; 5] = [
    "annotated-pair",
    "job",
    "cronjob",
    "service-mesh-pair",
    "api-server-path",
];

/// What the samples' containers are made of; the cluster has another one with the same programs.
const IMAGE: &str = "busybox:1.36";
/// For two requests of two tests each, and the kubelet's delay in showing a pod its annotations.
const JOB: Duration = Duration::from_secs(240);

/// A namespace that goes with this.
struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "namespace", "--wait=false", &self.0]);
    }
}

/// Has the API server check objects and make none; returns what it would have made.
fn dry_run(objects: &str) -> Result<Vec<Value>> {
    let arguments = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let text = kubectl_with(&arguments, objects)?;
    let mut all = Vec::new();
    for object in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        let object = object?;
        match object["items"].as_array() {
            Some(items) => all.extend(items.iter().cloned()),
            None => all.push(object),
        }
    }
    Ok(all)
}

/// Kubernetes 1.20 knows CronJobs by an older name, whose fields are the same, and is asked by it.
fn for_this_server(objects: &str) -> Result<String> {
    let known = kubectl(&["api-resources", "--api-group=batch", "-o", "name"])?;
    ensure!(known.contains("cronjobs"), "no CronJob in {known}");
    let versions = kubectl(&["api-versions"])?;
    let old = versions.lines().any(|version| version == "batch/v1beta1");
    let name = "apiVersion: batch/v1\nkind: CronJob";
    Ok(match old {
        true => objects.replace(name, "apiVersion: batch/v1beta1\nkind: CronJob"),
        false => objects.to_owned(),
    })
}

/// All maps of our annotations in an object, pods' templates included.
fn requests(object: &Value, found: &mut Vec<BTreeMap<String, String>>) {
    let Some(fields) = object.as_object() else {
        return;
    };
    if let Some(annotations) = object["annotations"].as_object() {
        let ours = annotations
            .iter()
            .filter(|(key, _)| key.starts_with(PREFIX));
        let ours: BTreeMap<_, _> = ours
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        if !ours.is_empty() {
            found.push(ours);
        }
    }
    for field in fields.values() {
        requests(field, found);
    }
}

#[test]
fn an_api_server_takes_the_samples_and_the_controller_their_annotations() -> Result<()> {
    let mut namespaces = Vec::new();
    for name in SAMPLES {
        let text = for_this_server(&deploy::read(&format!("samples/{name}.yaml"))?)?;
        // Others are checked in a namespace that is there.
        let (first, rest) = text.split_once("---\n").unwrap_or(("", &text));
        let mut objects = rest;
        if first.contains("\nkind: Namespace\n") {
            let made = kubectl_with(&["create", "-o", "name", "-f", "-"], first)?;
            let name = made.trim().trim_start_matches("namespace/").to_owned();
            namespaces.push(Namespace(name));
        } else {
            objects = &text;
        }
        let made = dry_run(objects).with_context(|| format!("the sample {name}"))?;
        let mut found = Vec::new();
        made.iter().for_each(|object| requests(object, &mut found));
        ensure!(!found.is_empty(), "{name} asks for nothing");
        for annotations in found {
            let request = Request::of(&annotations, 3).context("no request")?;
            request.with_context(|| format!("{name}: {}", annotations[PAIR]))?;
        }
    }
    Ok(())
}

#[test]
fn an_api_server_takes_the_chart() -> Result<()> {
    let namespace = "nettoll-test-chart";
    kubectl(&["create", "namespace", namespace])?;
    let _namespace = Namespace(namespace.to_owned());
    let new = kubectl(&["api-versions"])?
        .lines()
        .any(|version| version == "policy/v1");
    let mut kinds = 0;
    for object in chart::render(&[])?.split("---\n") {
        // A template whose condition does not hold leaves its comment.
        if !object.contains("\nkind: ")
            || (object.contains("\nkind: PodDisruptionBudget\n") && !new)
        {
            continue;
        }
        // What is not in a namespace is there already, where the product is.
        if object.contains("\nkind: ClusterRole") {
            kubectl_with(&["apply", "--dry-run=server", "-f", "-"], object)?;
        } else {
            dry_run(&object.replace("namespace: nettoll\n", &format!("namespace: {namespace}\n")))?;
        }
        kinds += 1;
    }
    ensure!(kinds > 10, "{kinds} objects");
    Ok(())
}

#[test]
fn the_job_ends_well_and_its_log_has_the_result() -> Result<()> {
    ready()?;
    let namespace = "nettoll-test-job";
    let _namespace = Namespace(namespace.to_owned());
    for sample in ["annotated-pair", "job"] {
        let objects = deploy::read(&format!("samples/{sample}.yaml"))?;
        let objects = objects.replace("nettoll-sample", namespace);
        kubectl_with(&["apply", "-f", "-"], &objects.replace(IMAGE, TOOLS))?;
    }
    eventually(JOB, || {
        let status = get(&["job", "-n", namespace, "nettoll-test"])?["status"].take();
        let ended = status["succeeded"] == 1 || status["failed"] == 1;
        ensure!(ended, "the job has not ended: {status}");
        Ok(())
    })?;
    let log = kubectl(&["logs", "-n", namespace, "job/nettoll-test"])?;
    ensure!(log.contains("nettoll.dev/status=\"done\""), "{log}");
    ensure!(
        log.contains("nettoll.dev/result=") && log.contains("tcp_stream"),
        "{log}"
    );
    Ok(())
}
