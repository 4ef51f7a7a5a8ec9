//! From the text that kustomize prints to the text of a chart. Line by line, so that the chart
//! with its default values is the same text again.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};

const GENERATED: &str =
    "# Made by 'cargo xtask manifests'. Do not edit: change deploy/base or deploy/overlays.\n";
/// The namespace in the manifests; in the chart it is the release's.
const NAMESPACE: &str = "nettoll";

/// What the chart asks its user.
#[derive(Debug, Default, PartialEq, Eq)]
struct Values {
    image: Option<String>,
    replicas: Option<String>,
    /// The configuration files, by their names.
    configuration: BTreeMap<String, String>,
}

/// The chart's files. `default` and `operator` are what kustomize made of these overlays, the
/// second one with everything of the first.
pub(super) fn files(default: &str, operator: &str) -> Result<BTreeMap<String, String>> {
    let default = documents(default);
    let known: BTreeSet<_> = default.iter().copied().collect();
    let operator = documents(operator);
    ensure!(
        default.iter().all(|document| operator.contains(document)),
        "the overlay prometheus-operator does not have all that the default has"
    );
    let mut values = Values::default();
    let mut files = BTreeMap::new();
    for document in operator {
        let (kind, name) = title(document)?;
        let condition = if kind == "Namespace" {
            Some("createNamespace")
        } else if known.contains(document) {
            None
        } else {
            Some("prometheusOperator")
        };
        let text = template(document, &kind, &mut values)
            .with_context(|| format!("cannot make a template of {kind} {name}"))?;
        let text = match condition {
            None => format!("{GENERATED}{text}"),
            Some(value) => {
                format!("{GENERATED}{{{{- if .Values.{value} }}}}\n{text}{{{{- end }}}}\n")
            }
        };
        let file = format!("templates/{}-{name}.yaml", kind.to_lowercase());
        ensure!(files.insert(file, text).is_none(), "two of {kind} {name}");
    }
    files.insert("Chart.yaml".to_owned(), chart());
    files.insert("values.yaml".to_owned(), values.text()?);
    Ok(files)
}

/// The rules file as an object of the Prometheus operator.
pub(super) fn prometheus_rule(rules: &str) -> String {
    let mut text =
        "# Made by 'cargo xtask manifests' from deploy/alerts/nettoll.rules.yaml. Do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: nettoll
  labels: {app.kubernetes.io/name: nettoll}
spec:
"
        .to_owned();
    let body = rules.lines().skip_while(|line| line.starts_with('#'));
    for line in body {
        if !line.is_empty() {
            text += "  ";
            text += line;
        }
        text.push('\n');
    }
    text
}

fn documents(text: &str) -> Vec<&str> {
    text.split("---\n")
        .filter(|text| !text.is_empty())
        .collect()
}

/// Kind and name of an object; kustomize sorts its keys, so both are where they are expected.
fn title(document: &str) -> Result<(String, String)> {
    let kind = document
        .lines()
        .find_map(|line| line.strip_prefix("kind: "));
    let metadata = document.lines().skip_while(|line| *line != "metadata:");
    let mut metadata = metadata.skip(1).take_while(|line| line.starts_with("  "));
    let name = metadata.find_map(|line| line.strip_prefix("  name: "));
    match (kind, name) {
        (Some(kind), Some(name)) => Ok((kind.to_owned(), name.to_owned())),
        _ => bail!("an object without kind or name:\n{document}"),
    }
}

/// The object with values in place of what a user may choose.
fn template(document: &str, kind: &str, values: &mut Values) -> Result<String> {
    let mut text = String::new();
    let mut lines = document.lines().peekable();
    while let Some(line) = lines.next() {
        let body = line.trim_start();
        let indent = &line[..line.len() - body.len()];
        let list = body.strip_prefix("- ").unwrap_or(body);
        if let Some(namespace) = list.strip_prefix("namespace: ") {
            ensure!(namespace == NAMESPACE, "the namespace {namespace}");
            text += &line.replace(namespace, "{{ .Release.Namespace }}");
        } else if kind == "Namespace" && line == format!("  name: {NAMESPACE}") {
            text += "  name: {{ .Release.Namespace }}";
        } else if let Some(image) = list.strip_prefix("image: ") {
            only(&mut values.image, image)?;
            text += &line.replace(image, "{{ .Values.image }}");
        } else if let Some(replicas) = line.strip_prefix("  replicas: ") {
            only(&mut values.replicas, replicas)?;
            text += "  replicas: {{ .Values.replicas }}";
        } else if let Some(file) = body.strip_suffix(".toml: |") {
            let inner = format!("{indent}  ");
            let mut content = String::new();
            while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with(&inner))
            {
                content += line.strip_prefix(&inner).unwrap_or(line);
                content.push('\n');
            }
            values.configuration.insert(file.to_owned(), content);
            let width = inner.len();
            text +=
                &format!("{line}\n{{{{ trimSuffix \"\\n\" .Values.{file} | indent {width} }}}}");
        } else {
            ensure!(
                !body.contains(".toml:"),
                "a configuration that is no block: {body}"
            );
            text += &line.replace("{{", r#"{{ "{{" }}"#);
        }
        text.push('\n');
    }
    Ok(text)
}

/// One value for the whole chart.
fn only(value: &mut Option<String>, found: &str) -> Result<()> {
    let known = value.get_or_insert_with(|| found.to_owned());
    ensure!(known == found, "both {known} and {found}");
    Ok(())
}

fn chart() -> String {
    format!(
        "{GENERATED}apiVersion: v2
name: nettoll
description: What the network of a cluster charges on the way, where, and in which currency
type: application
version: {version}
appVersion: {version}
kubeVersion: '>=1.21.0-0'
",
        version = env!("CARGO_PKG_VERSION")
    )
}

impl Values {
    fn text(&self) -> Result<String> {
        let image = self.image.as_ref().context("no object has an image")?;
        let replicas = self.replicas.as_ref().context("no object has replicas")?;
        let mut text = format!(
            "{GENERATED}
# Of agents, endpoints and controllers: nettoll has one image.
image: {image}
# Controllers. One works, the others take over.
replicas: {replicas}

# Make the release's namespace, labelled for Pod Security admission, for
# 'helm template … | kubectl apply'. With 'helm install' it must exist before, see docs/helm.md.
createNamespace: false
# PodMonitors, alert rules and the dashboard, for clusters with the Prometheus operator.
prometheusOperator: false
"
        );
        for (file, content) in &self.configuration {
            text += &format!("\n# The file {file}.toml: docs/{file}.md has its keys.\n{file}: |\n");
            for line in content.lines() {
                text += if line.is_empty() { "" } else { "  " };
                text += line;
                text.push('\n');
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
