//! The alert rules and the dashboard's queries, by Prometheus' own checker: each alert fires where
//! it must and nowhere else. They need no lab, but a tool that the lane `lab` brings.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Result, ensure};
use nettoll_tests::{deploy, promtool::promtool};

fn alerts() -> PathBuf {
    deploy::folder().join("alerts")
}

#[test]
fn the_rules_are_well_formed() -> Result<()> {
    promtool(&["check", "rules", "nettoll.rules.yaml"], &alerts(), "")
}

#[test]
fn each_alert_fires_where_it_must_and_nowhere_else() -> Result<()> {
    promtool(&["test", "rules", "nettoll.rules.test.yaml"], &alerts(), "")
}

#[test]
fn each_alert_is_tested_and_documented() -> Result<()> {
    let rules = deploy::read("alerts/nettoll.rules.yaml")?;
    let tests = deploy::read("alerts/nettoll.rules.test.yaml")?;
    let page = deploy::read("../docs/alerts.md")?;
    let mut count = 0;
    for line in rules.lines() {
        let Some(alert) = line.trim_start().strip_prefix("- alert: ") else {
            continue;
        };
        count += 1;
        let fires = format!("alertname: {alert}\n    exp_alerts:\n    - ");
        ensure!(tests.contains(&fires), "no test has {alert} fire");
        let row = format!("| `{alert}` |");
        ensure!(page.contains(&row), "docs/alerts.md does not have {alert}");
    }
    ensure!(count > 0, "no alerts in the file");
    Ok(())
}

#[test]
fn the_rules_use_documented_metrics_only() -> Result<()> {
    deploy::ensure_documented(&deploy::read("alerts/nettoll.rules.yaml")?)
}

#[test]
fn the_dashboard_asks_what_prometheus_understands() -> Result<()> {
    let queries = deploy::dashboard_queries()?;
    ensure!(queries.len() > 20, "{} queries", queries.len());
    // As recording rules, since the checker takes files of rules.
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, (title, query)) in queries.iter().enumerate() {
        ensure!(
            !query.contains('$'),
            "{title}: a variable is left in {query}"
        );
        let query = serde_json::to_string(query)?;
        writeln!(rules, "  - {{record: query:{number}, expr: {query}}}")?;
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("dashboard.yaml");
    fs::write(&file, rules)?;
    let file = file.to_string_lossy();
    promtool(&["check", "rules", &file], folder.path(), "")
}

#[test]
fn the_dashboard_shows_documented_metrics_and_each_of_the_edges() -> Result<()> {
    let dashboard = deploy::read("dashboards/nettoll.json")?;
    deploy::ensure_documented(&dashboard)?;
    for metric in [
        "nettoll_up",
        "nettoll_rtt_seconds_bucket",
        "nettoll_rtt_p99_seconds",
        "nettoll_stage_latency_seconds_sum",
        "nettoll_toll_ratio",
        "nettoll_lost_total",
        "nettoll_closure_ratio",
        "nettoll_last_success_timestamp_seconds",
        "nettoll_component_cpu_seconds_total",
        "nettoll_probe_lost_total",
    ] {
        ensure!(dashboard.contains(metric), "{metric} is on no panel");
    }
    Ok(())
}
