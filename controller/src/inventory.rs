//! The nodes and endpoints that the controller knows, from a static file.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use nettoll_core::{api::Inventory, endpoint::Endpoint};

use crate::config::Syntax;

/// Why there is no inventory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InventoryError {
    /// The file cannot be read.
    #[error("cannot read the inventory {}: {source}; the configuration's key 'inventory' names it", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no inventory.
    #[error("{0}; docs/controller.md and deploy/samples/inventory.toml show what it holds")]
    Syntax(Syntax),
    /// It contradicts itself.
    #[error("the inventory {} cannot be used: {reason}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Why, and what to write.
        reason: String,
    },
}

/// Reads an inventory and checks that it makes sense.
pub(crate) fn read(path: &Path) -> Result<Inventory, InventoryError> {
    let text = fs::read_to_string(path).map_err(|source| InventoryError::Read {
        path: path.to_owned(),
        source,
    })?;
    let inventory = toml::from_str(&text)
        .map_err(|error| InventoryError::Syntax(Syntax::of(path, &text, &error)))?;
    check(&inventory).map_err(|reason| InventoryError::Invalid {
        path: path.to_owned(),
        reason,
    })?;
    Ok(inventory)
}

/// Names are unique and can be written as endpoints, and every pod has an address in known
/// networks only.
fn check(inventory: &Inventory) -> Result<(), String> {
    if inventory.nodes.is_empty() {
        return Err("it has no [[nodes]]; list at least one".to_owned());
    }
    let mut seen = BTreeSet::new();
    for node in &inventory.nodes {
        unique(&mut seen, &format!("node/{}", node.name))?;
        for pod in &node.pods {
            let name = format!("pod/{}", pod.name);
            unique(&mut seen, &name)?;
            if let Some(unknown) = pod
                .addresses
                .keys()
                .find(|network| !inventory.networks.contains(network))
            {
                return Err(format!(
                    "{name} has an address in network '{unknown}', which 'networks' does not list"
                ));
            }
        }
    }
    for service in &inventory.services {
        unique(&mut seen, &format!("service/{}", service.name))?;
    }
    Ok(())
}

fn unique(seen: &mut BTreeSet<Endpoint>, name: &str) -> Result<(), String> {
    let endpoint: Endpoint = name.parse().map_err(|_| {
        format!("'{name}' is no endpoint: nodes are named NAME, pods and services NAMESPACE/NAME")
    })?;
    if seen.insert(endpoint) {
        Ok(())
    } else {
        Err(format!("{name} is there twice"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The sample: nodes n1 and n2, pods a and b on each, networks vxlan and host-gw.
    pub(crate) fn sample() -> Inventory {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../deploy/samples/inventory.toml"
        );
        read(Path::new(path)).unwrap()
    }

    #[test]
    fn the_sample_is_read() {
        let inventory = sample();
        assert_eq!(inventory.networks, ["vxlan", "host-gw"]);
        assert_eq!(inventory.nodes.len(), 2);
        assert_eq!(inventory.nodes[1].pods[0].name, "lab/n2-a");
    }

    #[test]
    fn contradictions_are_told() {
        let told = |change: &dyn Fn(&mut Inventory)| {
            let mut inventory = sample();
            change(&mut inventory);
            check(&inventory).unwrap_err()
        };
        assert!(told(&|i| i.nodes.clear()).contains("no [[nodes]]"));
        assert!(told(&|i| i.nodes[1].name = "n1".into()).contains("node/n1 is there twice"));
        assert!(told(&|i| i.nodes[1].pods[0].name = "lab/n1-a".into()).contains("pod/lab/n1-a"));
        assert!(told(&|i| i.nodes[0].pods[0].name = "n1-a".into()).contains("NAMESPACE/NAME"));
        assert!(told(&|i| i.networks.truncate(1)).contains("'host-gw'"));
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inventory.toml");
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .contains("inventory.toml")
        );
        fs::write(&path, "networks = []\nnods = []").unwrap();
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .contains("inventory.toml:2: ")
        );
    }
}
