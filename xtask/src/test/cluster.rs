//! The cluster of the lane `cluster`: a kit brings one up, and the image and the manifests go
//! into it, as a user's would.
//!
//! The kit is a command of this interface: `cluster up` and `down`, `image load FILE`, `kubectl
//! …`, `exec NODE …`, and `assets`, which prints the folder with `kube-apiserver`, `etcd` and
//! `kubectl` that tests of the API alone use.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    build, exec, image,
    places::Places,
    setup::{self, Purpose},
    stop::Stop,
};

/// Names the kit's command.
const KIT: &str = "NETTOLL_KIT";
/// Why the lane does not run without one.
pub(crate) const NO_KIT: &str =
    "there is no cluster: NETTOLL_KIT does not name a kit's command (see CONTRIBUTING.md)";
/// What is applied, in the workspace.
const OVERLAY: &str = "deploy/overlays/kit";

/// The kit's command, where one is named.
pub(crate) fn kit() -> Option<PathBuf> {
    env::var_os(KIT)
        .filter(|kit| !kit.is_empty())
        .map(PathBuf::from)
}

/// A cluster that runs the product. It goes with this, unless it was there before.
#[derive(Debug)]
pub(crate) struct Cluster {
    kit: PathBuf,
    assets: String,
    /// The folder of the binaries, for tests that run them outside of the cluster.
    binaries: PathBuf,
    keep: bool,
}

impl Cluster {
    /// Makes the image and brings the cluster up. A cluster that is up stays, with the product of
    /// an earlier time removed first.
    pub(crate) fn up(kit: &Path, yes: bool, places: &Places) -> Result<Self> {
        // Minutes before it is called.
        if !setup::can_start(kit) {
            return Err(Stop::Prerequisite(format!(
                "NETTOLL_KIT names {}, which is no program; name a kit's command (see CONTRIBUTING.md)",
                kit.display()
            ))
            .into());
        }
        let ready = setup::ensure(Purpose::Test, yes, places)?;
        let binaries = build::build(build::Options::RELEASE, &ready, places)?;
        let image = image::pack(None, &binaries, places)?;
        let run = |what: &str, arguments: &[&str]| {
            eprintln!("cluster: {}", arguments.join(" "));
            let mut command = Command::new(kit);
            exec::run_ok(command.current_dir(&places.root).args(arguments), what)
        };
        run("building the kit", &["build"])?;
        let mut look = Command::new(kit);
        let keep = exec::ask(look.args(["kubectl", "get", "node", "n1"])).is_ok();
        let cluster = Self {
            kit: kit.to_owned(),
            assets: exec::ask(Command::new(kit).arg("assets"))?
                .trim()
                .to_owned(),
            binaries,
            keep,
        };
        run("bringing the cluster up", &["cluster", "up"])?;
        if keep {
            let delete = ["kubectl", "delete", "--ignore-not-found", "-k", OVERLAY];
            run("removing the product", &delete)?;
        }
        let image = image.to_string_lossy();
        run("loading the image", &["image", "load", &image])?;
        run(
            "applying the manifests",
            &["kubectl", "apply", "-k", OVERLAY],
        )?;
        Ok(cluster)
    }

    /// Tells the tests where it is.
    pub(crate) fn tell(&self, cargo: &mut Command) {
        cargo.env(KIT, &self.kit);
        cargo.env("KUBEBUILDER_ASSETS", &self.assets);
        cargo.env("NETTOLL_BIN_DIR", &self.binaries);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let mut down = Command::new(&self.kit);
        let status = exec::run_to_end(down.args(["cluster", "down"]));
        let done = status.and_then(|status| exec::success(status, "taking the cluster down"));
        if let Err(error) = done {
            eprintln!("error: the cluster may still be there: {error:#}");
        }
    }
}
