//! An image of one layer, as an OCI image layout in a tar archive.

use std::{env::consts::ARCH, io::Write as _};

use anyhow::{Result, bail};
use flate2::{Compression, write::GzEncoder};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::tar;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Where a container finds its programs. It begins none by itself, and as no user of its own: the
/// manifests say which, and as whom.
pub(super) const ENVIRONMENT: &str = "PATH=/";
/// Where a container begins.
pub(super) const FOLDER: &str = "/";

/// A file of the layout that is named by its content.
struct Blob {
    sha256: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(content: Vec<u8>) -> Self {
        Self {
            sha256: sha256(&content),
            content,
        }
    }

    fn name(&self) -> String {
        format!("blobs/sha256/{}", self.sha256)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({
            "mediaType": media_type,
            "digest": format!("sha256:{}", self.sha256),
            "size": self.content.len(),
        })
    }
}

/// An image.
pub(super) struct Image {
    /// `NAME:TAG`.
    reference: String,
    blobs: [Blob; 3],
}

impl Image {
    /// Of executable files in `/`: name and content.
    pub(super) fn new(reference: &str, files: Vec<(String, Vec<u8>)>) -> Result<Self> {
        let files = files
            .iter()
            .map(|(name, content)| (name.as_str(), 0o755, content.as_slice()));
        let layer = tar::archive(files)?;
        let diff_id = sha256(&layer);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&layer)?;
        let layer = Blob::new(gzip.finish()?);
        let config = Blob::new(serde_json::to_vec(&json!({
            "architecture": architecture()?,
            "os": "linux",
            "config": { "Env": [ENVIRONMENT], "WorkingDir": FOLDER },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{diff_id}")] },
        }))?);
        let manifest = Blob::new(serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(CONFIG),
            "layers": [layer.descriptor(LAYER)],
        }))?);
        Ok(Self {
            reference: reference.to_owned(),
            blobs: [manifest, config, layer],
        })
    }

    /// The archive. `manifest.json` is there for engines that know Docker's own format alone.
    pub(super) fn archive(&self) -> Result<Vec<u8>> {
        let [manifest, config, layer] = &self.blobs;
        let tag = self.reference.rsplit(':').next();
        let mut descriptor = manifest.descriptor(MANIFEST);
        descriptor["annotations"] = json!({
            "io.containerd.image.name": format!("docker.io/library/{}", self.reference),
            "org.opencontainers.image.ref.name": tag,
        });
        let index = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [descriptor],
        }))?;
        let docker = serde_json::to_vec(&json!([{
            "Config": config.name(),
            "RepoTags": [self.reference],
            "Layers": [layer.name()],
        }]))?;
        let names = self.blobs.each_ref().map(Blob::name);
        let blobs = names
            .iter()
            .zip(&self.blobs)
            .map(|(name, blob)| (name.as_str(), 0o644, blob.content.as_slice()));
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
        let head = [
            ("oci-layout", 0o644, layout.as_slice()),
            ("index.json", 0o644, index.as_slice()),
            ("manifest.json", 0o644, docker.as_slice()),
        ];
        tar::archive(head.into_iter().chain(blobs))
    }
}

fn sha256(data: &[u8]) -> String {
    digest(&SHA256, data)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// This machine's, as OCI calls it.
fn architecture() -> Result<&'static str> {
    Ok(match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("no images are made for {other}; nettoll knows x86_64 and aarch64"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_each_time_and_names_what_it_holds() {
        let make = || {
            let files = vec![("a".to_owned(), b"content".to_vec())];
            Image::new("nettoll:1.2.3", files).unwrap()
        };
        assert_eq!(make().archive().unwrap(), make().archive().unwrap());
        let image = make();
        let [manifest, config, layer] = &image.blobs;
        let manifest: Value = serde_json::from_slice(&manifest.content).unwrap();
        assert_eq!(manifest["config"], config.descriptor(CONFIG));
        assert_eq!(manifest["layers"][0], layer.descriptor(LAYER));
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
