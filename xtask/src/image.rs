//! `cargo xtask image`: the container image, as one archive and without a container engine.
//!
//! Static binaries and nothing else: no shell, no libraries. The archive is an OCI image layout
//! that `docker load`, `podman load`, `ctr images import` and `skopeo` take. The same binaries
//! give the same archive, byte for byte.

mod archive;
mod tar;

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Options},
    image::archive::Image,
    places::Places,
    setup::{self, Purpose},
    stop::Stop,
};

/// What the image holds, each in `/`. They are also their packages' names.
const BINARIES: [&str; 2] = ["nettoll-agent", "nettoll-controller"];

/// `cargo xtask image`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The archive [default: target/nettoll-VERSION.tar]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: Args, places: &Places) -> Result<()> {
    let Args { out } = args;
    if let Some(out) = &out {
        writable(out)?;
    }
    let ready = setup::ensure(Purpose::Build, false, places)?;
    let folder = build::build(Options::RELEASE, &ready, places)?;
    let file = pack(out, &folder, places)?;
    println!("{}", file.display());
    Ok(())
}

/// Writes the archive of binaries that were built; returns where it is.
pub(crate) fn pack(out: Option<PathBuf>, folder: &Path, places: &Places) -> Result<PathBuf> {
    let files = BINARIES.map(|name| (name, folder.join(name)));
    let version = env!("CARGO_PKG_VERSION");
    let image = Image::new(&format!("nettoll:{version}"), read(&files)?)?;
    let out = out.unwrap_or_else(|| {
        let name = format!("nettoll-{version}.tar");
        places.target.join(name)
    });
    write(&out, &image.archive()?)?;
    Ok(out)
}

/// Sees whether the archive can be written, minutes before it is.
fn writable(out: &Path) -> Result<()> {
    let folder = out.parent().unwrap_or(Path::new("."));
    let trial = folder.join(format!(".nettoll-{}", process::id()));
    let made = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&trial, ""))
        .and_then(|()| fs::remove_file(&trial));
    let refused = match made {
        Ok(()) if out.is_dir() => "it is a folder".to_owned(),
        Ok(()) => return Ok(()),
        Err(error) => error.to_string(),
    };
    let (out, more) = (out.display(), "give --out a file that you can write");
    Err(Stop::Prerequisite(format!("cannot write {out}: {refused}; {more}")).into())
}

fn read(files: &[(&str, PathBuf)]) -> Result<Vec<(String, Vec<u8>)>> {
    files
        .iter()
        .map(|(name, path)| {
            let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(((*name).to_owned(), data))
        })
        .collect()
}

fn write(out: &Path, archive: &[u8]) -> Result<()> {
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    fs::write(out, archive).with_context(|| format!("cannot write {}", out.display()))
}

#[cfg(test)]
mod tests {
    use super::{archive::*, *};
    use crate::stop;

    #[test]
    fn the_dockerfile_makes_the_same_image() {
        let file = include_str!("../../deploy/Dockerfile");
        let (_, image) = file.rsplit_once("FROM scratch\n").unwrap();
        let of_binary = |name| format!("COPY --from=build /image/{name} /{name}");
        let made = [format!("ENV {ENVIRONMENT}"), format!("WORKDIR {FOLDER}")];
        let expected: Vec<_> = BINARIES.map(of_binary).into_iter().chain(made).collect();
        assert_eq!(image.lines().collect::<Vec<_>>(), expected);
        let version = format!("--tag nettoll:{} ", env!("CARGO_PKG_VERSION"));
        assert!(file.contains(&version), "{version}");
    }

    #[test]
    fn an_archive_that_cannot_be_written_is_told_before_anything_is_built() {
        let folder = tempfile::tempdir().unwrap();
        writable(&folder.path().join("new/nettoll.tar")).unwrap();
        assert!(
            fs::read_dir(folder.path().join("new"))
                .unwrap()
                .next()
                .is_none()
        );
        for out in [folder.path(), Path::new("/proc/nettoll/x.tar")] {
            let error = writable(out).unwrap_err();
            assert_eq!(stop::exit_code(&error), stop::PREREQUISITE);
            assert!(error.to_string().contains("give --out a file"), "{error}");
        }
    }

    #[test]
    fn the_manifests_begin_what_the_image_holds() {
        for manifest in ["agent", "controller", "endpoints"] {
            let path = format!(
                "{}/../deploy/base/{manifest}.yaml",
                env!("CARGO_MANIFEST_DIR")
            );
            let text = fs::read_to_string(path).unwrap();
            let commands = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("command: [/"));
            let programs: Vec<_> = commands.filter_map(|rest| rest.split(',').next()).collect();
            assert_eq!(programs.len(), text.matches("image: nettoll\n").count());
            assert!(!programs.is_empty(), "{manifest}");
            for program in programs {
                assert!(BINARIES.contains(&program), "{manifest}: {program}");
            }
        }
    }
}
