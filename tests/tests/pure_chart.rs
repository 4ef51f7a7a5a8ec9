//! What can be said of the Helm chart without kubectl; `cluster_chart.rs` compares it with
//! kustomize. Its templates know five actions, which [`chart::render`] carries out.

use anyhow::{Context as _, Result, ensure};
use nettoll_tests::deploy::{self, chart};

#[test]
fn the_defaults_leave_out_what_needs_more_than_kubernetes() -> Result<()> {
    let all = chart::render(&["createNamespace", "prometheusOperator"])?;
    let plain = chart::render(&[])?;
    for object in [
        "kind: Namespace\n",
        "kind: PodMonitor\n",
        "kind: PrometheusRule\n",
    ] {
        ensure!(all.contains(object) && !plain.contains(object), "{object}");
    }
    ensure!(plain.contains("kind: DaemonSet\n"));
    Ok(())
}

#[test]
fn an_object_lands_in_the_release_s_namespace() -> Result<()> {
    for (name, template) in chart::templates()? {
        let wrong = template
            .lines()
            .find(|line| line.trim() == "namespace: nettoll");
        ensure!(wrong.is_none(), "{name} names the namespace");
    }
    let values = deploy::read("helm/nettoll/values.yaml")?;
    let image = values.lines().find(|line| line.starts_with("image: "));
    let version = format!(":{}", env!("CARGO_PKG_VERSION"));
    ensure!(image.context("no image")?.ends_with(&version));
    Ok(())
}
