//! The Helm chart and the overlays make the objects that they should, by kubectl's own kustomize.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Result, ensure};
use nettoll_tests::{
    control_plane,
    deploy::{self, chart},
};

/// An overlay's objects.
fn kustomize(overlay: &str) -> Result<BTreeSet<String>> {
    let overlay = deploy::folder().join("overlays").join(overlay);
    let output = Command::new(control_plane::program("kubectl")?)
        .arg("kustomize")
        .arg(overlay)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl kustomize: {said}");
    Ok(objects(&String::from_utf8(output.stdout)?))
}

/// The objects in a stream, without comments and what a block's empty lines are padded with.
fn objects(text: &str) -> BTreeSet<String> {
    let mut objects = vec![String::new()];
    for line in text.lines() {
        match objects.last_mut() {
            _ if line == "---" => objects.push(String::new()),
            Some(object) if !line.starts_with('#') => {
                *object += line.trim_end();
                object.push('\n');
            }
            _ => {}
        }
    }
    let objects = objects.into_iter().map(|object| object.trim().to_owned());
    objects.filter(|object| !object.is_empty()).collect()
}

/// Everything that the overlay has and the chart does not, and the other way round.
fn ensure_equal(ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> Result<()> {
    let more: Vec<_> = ours.difference(theirs).collect();
    let less: Vec<_> = theirs.difference(ours).collect();
    ensure!(
        more.is_empty() && less.is_empty(),
        "only the chart has:\n{more:#?}\nonly kustomize has:\n{less:#?}"
    );
    Ok(())
}

/// Values other than the defaults, and the overlay that makes the same.
const CASES: [(&[&str], &str); 2] = [
    (&["createNamespace"], "default"),
    (
        &["createNamespace", "prometheusOperator"],
        "prometheus-operator",
    ),
];

#[test]
fn the_chart_is_what_kustomize_makes() -> Result<()> {
    for (switched_on, overlay) in CASES {
        let ours = objects(&chart::render(switched_on)?);
        ensure!(ours.len() > 10, "{} objects", ours.len());
        ensure_equal(&ours, &kustomize(overlay)?)?;
    }
    Ok(())
}

#[test]
fn the_overlay_without_streams_changes_the_controllers_file_alone() -> Result<()> {
    let (plain, without) = (kustomize("default")?, kustomize("no-streams")?);
    let changed: Vec<_> = without.difference(&plain).collect();
    let [map] = changed[..] else {
        anyhow::bail!("not one object is changed: {changed:#?}");
    };
    let streams = "    [mesh]\n    streams = false\n";
    let before = map.replacen(streams, "", 1);
    let file = |object: &str| {
        object
            .split_once("\nkind:")
            .map(|(data, _)| data.to_owned())
    };
    ensure!(before != *map && plain.iter().any(|object| file(object) == file(&before)));
    Ok(())
}

#[test]
fn the_overlay_for_selinux_changes_the_agent_alone() -> Result<()> {
    let (plain, selinux) = (kustomize("default")?, kustomize("selinux")?);
    let changed: Vec<_> = selinux.difference(&plain).collect();
    let [agent] = changed[..] else {
        anyhow::bail!("not one object is changed: {changed:#?}");
    };
    ensure!(agent.contains("  name: nettoll-agent\n") && agent.contains("type: spc_t"));
    let lines = agent.lines().filter(|line| !line.trim().is_empty()).count();
    let before = plain
        .difference(&selinux)
        .map(|agent| agent.lines().count());
    ensure!(
        before.eq([lines - 2]),
        "more than seLinuxOptions is changed"
    );
    Ok(())
}
