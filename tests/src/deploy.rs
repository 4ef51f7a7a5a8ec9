//! The files of `deploy/`, as tests read them.

pub mod chart;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The folder.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// One of its files.
///
/// # Errors
/// Where it cannot be read.
pub fn read(name: &str) -> Result<String> {
    let path = folder().join(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// A query's metrics are those of the pages of controller, agent and mesh: a name that changed there
/// leaves no dead query behind.
///
/// # Errors
/// Naming those that are not there.
pub fn ensure_documented(queries: &str) -> Result<()> {
    let mut pages = read("../docs/controller.md")?;
    pages += &read("../docs/agent.md")?;
    pages += &read("../docs/mesh.md")?;
    let documented = metrics(&pages);
    ensure!(documented.len() > 10, "the pages document no metrics");
    let unknown: Vec<_> = metrics(queries)
        .into_iter()
        .filter(|name| {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix));
            !documented.contains(name) && !base.is_some_and(|base| documented.contains(base))
        })
        .collect();
    ensure!(
        unknown.is_empty(),
        "not in docs/{{controller,agent,mesh}}.md: {}",
        unknown.join(", ")
    );
    Ok(())
}

/// Names of metrics in a text. A folder or a file is called otherwise: after `nettoll` comes no
/// underscore there.
fn metrics(text: &str) -> BTreeSet<&str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("nettoll_"))
        .collect()
}

/// What the dashboard asks Prometheus: a panel's title, and its query with values in place of the
/// dashboard's variables, all paths and nodes together.
///
/// # Errors
/// Where the file is not a dashboard.
pub fn dashboard_queries() -> Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(&read("dashboards/nettoll.json")?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut queries = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().context("a panel has no title")?;
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("a target has no query")?;
            queries.push((title.to_owned(), with_values(query)));
        }
    }
    Ok(queries)
}

/// Longer names first: `$path` is not the beginning of another variable.
fn with_values(query: &str) -> String {
    query
        .replace("$__rate_interval", "2m")
        .replace("$metric", "rtt_mean")
        .replace("$from_zone", ".*")
        .replace("$to_zone", ".*")
        .replace("$from_node", ".*")
        .replace("$to_node", ".*")
        .replace("$network", ".*")
        .replace("$path", ".*")
        .replace("$test", ".*")
}
