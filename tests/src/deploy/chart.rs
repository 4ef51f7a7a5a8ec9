//! What Helm makes of `deploy/helm/nettoll`, as far as its templates go.
//!
//! They have five actions, each alone or at most twice on a line, and anything else is an error:
//!
//! | action | becomes |
//! |---|---|
//! | `{{ .Release.Namespace }}` | `nettoll` |
//! | `{{ .Values.KEY }}` | the value |
//! | `{{ trimSuffix "\n" .Values.KEY \| indent 4 }}` | the value's lines, indented |
//! | `{{ "{{" }}` | two braces |
//! | `{{- if .Values.KEY }}`, `{{- end }}` | what lies between, or nothing |

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, bail};

use super::{folder, read};

/// The templates by their files' names.
///
/// # Errors
/// Where they cannot be read.
pub fn templates() -> Result<BTreeMap<String, String>> {
    let folder = folder().join("helm/nettoll/templates");
    let files = fs::read_dir(&folder).context("there is no chart; run 'cargo xtask manifests'")?;
    files
        .map(|file| {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            Ok((name, fs::read_to_string(file.path())?))
        })
        .collect()
}

/// All objects, with the default values but for those of `switched_on`, which are `true`.
///
/// # Errors
/// Where a template has something that this does not know.
pub fn render(switched_on: &[&str]) -> Result<String> {
    let mut values = values(&read("helm/nettoll/values.yaml")?)?;
    for &key in switched_on {
        let value = values.get_mut(key);
        "true".clone_into(value.with_context(|| format!("there is no value {key}"))?);
    }
    let mut text = String::new();
    for (name, template) in templates()? {
        text += "---\n";
        text += &one(&template, &values).with_context(|| format!("in {name}"))?;
    }
    Ok(text)
}

/// Plain values and blocks at the top level.
fn values(text: &str) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::<String, String>::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        if let (Some(key), true) = (&block, line.is_empty() || line.starts_with("  ")) {
            let value = values.entry(key.clone()).or_default();
            *value += line.strip_prefix("  ").unwrap_or(line);
            value.push('\n');
            continue;
        }
        block = None;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.split_once(": ");
        let (key, value) = pair.with_context(|| format!("no value: {line}"))?;
        if value == "|" {
            block = Some(key.to_owned());
        } else {
            values.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(values)
}

fn one(template: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let value = |key: &str| {
        let value = values.get(key);
        value.with_context(|| format!("there is no value {key}"))
    };
    let mut text = String::new();
    let mut shown = true;
    for line in template.lines() {
        if let Some(key) = between(line, "{{- if .Values.", " }}") {
            shown = value(key)? == "true";
        } else if line == "{{- end }}" {
            shown = true;
        } else if let Some(action) = between(line, "{{ trimSuffix \"\\n\" .Values.", " }}") {
            let (key, width) = action.split_once(" | indent ").context("no indent")?;
            let indent = " ".repeat(width.parse()?);
            for line in value(key)?.trim_end_matches('\n').lines() {
                text += &format!("{indent}{line}\n");
            }
        } else if shown {
            text += &actions(line, &value)?;
            text.push('\n');
        }
    }
    Ok(text)
}

/// A line with the actions that may be anywhere on it.
fn actions<'a>(line: &str, value: &impl Fn(&str) -> Result<&'a String>) -> Result<String> {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, action)) = rest.split_once("{{ ") {
        text += before;
        // The braces as text have braces in their action.
        let (action, after) = match action.strip_prefix(r#""{{" }}"#) {
            Some(after) => (r#""{{""#, after),
            None => action.split_once(" }}").context("an action has no end")?,
        };
        match action {
            ".Release.Namespace" => text += "nettoll",
            r#""{{""# => text += "{{",
            _ => match action.strip_prefix(".Values.") {
                Some(key) => text += value(key)?,
                None => bail!("an action that this test does not know: {action}"),
            },
        }
        rest = after;
    }
    Ok(text + rest)
}

fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    line.strip_prefix(before)?.strip_suffix(after)
}
