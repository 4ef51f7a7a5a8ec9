//! A kernel's modules: which ones are needed for others, and in which order they load.
//!
//! Each module says itself what it depends on, so no index has to be made of them first.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// A module, as the kernel takes it.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its name, with `_` where its file may have `-`.
    pub(crate) name: String,
    /// Its content, not compressed.
    pub(crate) content: Vec<u8>,
}

/// The modules of `wanted` and all that they depend on, in an order in which they load. What is
/// built into the kernel is left out. `folder` is `lib/modules/RELEASE`.
pub(crate) fn in_order(folder: &Path, wanted: &[&str]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    find(folder, &mut files)?;
    let list = folder.join("modules.builtin");
    let list = fs::read_to_string(&list).with_context(|| format!("cannot read {list:?}"))?;
    let mut order = Order {
        files,
        taken: list
            .lines()
            .filter_map(|path| name(path.as_ref()))
            .collect(),
        modules: Vec::new(),
    };
    for name in wanted {
        order.take(name)?;
    }
    Ok(order.modules)
}

struct Order {
    files: BTreeMap<String, PathBuf>,
    /// Built in, or in `modules`, or on their way to it.
    taken: BTreeSet<String>,
    modules: Vec<Module>,
}

impl Order {
    fn take(&mut self, name: &str) -> Result<()> {
        if !self.taken.insert(name.to_owned()) {
            return Ok(());
        }
        let file = self.files.get(name);
        let file = file.with_context(|| format!("this kernel has no module '{name}'"))?;
        let content = read(file)?;
        for other in depends(&content) {
            self.take(&other)?;
        }
        let name = name.to_owned();
        self.modules.push(Module { name, content });
        Ok(())
    }
}

/// All modules in a folder and those below it, by name.
fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {folder:?}"))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if let Some(name) = name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `udp_tunnel` of `net/ipv4/udp-tunnel.ko.xz`.
fn name(path: &Path) -> Option<String> {
    let file = path.file_name().and_then(OsStr::to_str)?;
    let (name, _) = file.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension() != Some(OsStr::new("xz")) {
        return fs::read(path).with_context(|| format!("cannot read {path:?}"));
    }
    let output = Command::new("xz").args(["-dc"]).arg(path).output();
    let output = output.context("cannot start xz")?;
    ensure!(output.status.success(), "xz cannot read {path:?}");
    Ok(output.stdout)
}

/// What a module's own description says: `depends=udp_tunnel,ip6_udp_tunnel`.
fn depends(content: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(at) = content.windows(FIELD.len()).position(|it| it == FIELD) else {
        return Vec::new();
    };
    let list = content[at + FIELD.len()..].split(|byte| *byte == 0).next();
    String::from_utf8_lossy(list.unwrap_or_default())
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_need_loads_first_and_once() {
        let folder = std::env::temp_dir().join(format!("nettoll-modules-{}", std::process::id()));
        let net = folder.join("kernel/net");
        fs::create_dir_all(&net).unwrap();
        for (file, content) in [
            (
                "vxlan.ko",
                "ELF\0license=GPL\0depends=udp-tunnel,ip6_udp_tunnel\0",
            ),
            ("udp-tunnel.ko", "ELF\0depends=ip6_udp_tunnel\0"),
            ("ip6_udp_tunnel.ko", "ELF\0depends=\0"),
            ("lost.ko", "ELF\0depends=nowhere\0"),
        ] {
            fs::write(net.join(file), content).unwrap();
        }
        fs::write(folder.join("modules.builtin"), "kernel/net/veth.ko\n").unwrap();
        let order = |wanted: &[&str]| {
            let modules = in_order(&folder, wanted)?;
            Ok(modules.into_iter().map(|module| module.name).collect())
        };
        let all: Result<Vec<_>> = order(&["vxlan", "veth", "udp_tunnel"]);
        assert_eq!(all.unwrap(), ["ip6_udp_tunnel", "udp_tunnel", "vxlan"]);
        let none = order(&["lost"]).unwrap_err().to_string();
        assert!(none.contains("no module 'nowhere'"), "{none}");
        fs::remove_dir_all(folder).unwrap();
    }
}
