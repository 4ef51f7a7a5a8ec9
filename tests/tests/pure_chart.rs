//! The Helm chart makes the same objects as kustomize.
//!
//! Its templates know five actions (`deploy::render`), which this test carries out itself; where
//! `helm` is on `PATH`, Helm's own output is compared as well.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use nettoll_tests::deploy::{self, chart};

/// `KUBECTL`, the one on `PATH`, or the one of `KUBEBUILDER_ASSETS`; `None` where there is none.
fn kubectl() -> Option<PathBuf> {
    let of_assets = || Some(Path::new(&env::var_os("KUBEBUILDER_ASSETS")?).join("kubectl"));
    let named = env::var_os("KUBECTL").map(PathBuf::from);
    let known = [named, Some("kubectl".into()), of_assets()];
    known.into_iter().flatten().find(|file| {
        let help = Command::new(file).args(["kustomize", "--help"]).output();
        help.is_ok_and(|output| output.status.success())
    })
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
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
    let Some(kubectl) = kubectl() else {
        eprintln!("skipped: there is no kubectl here; name one in KUBECTL");
        return Ok(());
    };
    for (switched_on, overlay) in CASES {
        let overlay = deploy::folder().join("overlays").join(overlay);
        let ours = objects(&chart::render(switched_on)?);
        ensure!(ours.len() > 10, "{} objects", ours.len());
        let theirs = objects(&run(Command::new(&kubectl).arg("kustomize").arg(overlay))?);
        ensure_equal(&ours, &theirs)?;
    }
    Ok(())
}

#[test]
fn helm_makes_the_same_of_the_chart() -> Result<()> {
    let chart = deploy::folder().join("helm/nettoll");
    if Command::new("helm").arg("version").output().is_err() {
        eprintln!("skipped: there is no helm here");
        return Ok(());
    }
    run(Command::new("helm").arg("lint").arg("--strict").arg(&chart))?;
    for (switched_on, _) in CASES {
        let mut helm = Command::new("helm");
        helm.args(["template", "nettoll"]).arg(&chart);
        helm.args(["--namespace", "nettoll", "--kube-version", "1.28.0"]);
        for value in switched_on {
            helm.arg("--set").arg(format!("{value}=true"));
        }
        ensure_equal(
            &objects(&run(&mut helm)?),
            &objects(&chart::render(switched_on)?),
        )?;
    }
    Ok(())
}

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

#[test]
fn the_overlay_for_selinux_changes_the_agent_alone() -> Result<()> {
    let Some(kubectl) = kubectl() else {
        eprintln!("skipped: there is no kubectl here; name one in KUBECTL");
        return Ok(());
    };
    let make = |overlay: &str| {
        let overlay = deploy::folder().join("overlays").join(overlay);
        run(Command::new(&kubectl).arg("kustomize").arg(overlay)).map(|text| objects(&text))
    };
    let (plain, selinux) = (make("default")?, make("selinux")?);
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
