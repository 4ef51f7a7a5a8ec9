//! What was asked for → cells between endpoints of an inventory.

use super::{Asked, Cell, Matrix, Missing, Outcome, SCHEMA, preset::Wanted};
use crate::{
    api::Inventory,
    endpoint::Path,
    plan::{Ends, PlanError},
    report::TestType,
};

impl Matrix {
    /// Plans the cells. `networks` says over which pod networks a test is measured.
    ///
    /// # Errors
    /// Nothing of it can be measured, for the first of the reasons.
    pub fn plan<'a>(
        asked: Asked,
        inventory: &Inventory,
        networks: impl Fn(TestType) -> &'a [String],
    ) -> Result<Self, PlanError> {
        let ends = Ends::new(
            inventory,
            asked.from_node.as_deref(),
            asked.to_node.as_deref(),
        )?;
        let (mut cells, mut missing) = (Vec::new(), Vec::new());
        let mut first = None;
        for wanted in asked.wanted() {
            match paths(&ends, &wanted, networks(wanted.test)) {
                Ok(paths) => cells.extend(paths.iter().flat_map(|path| asked.cells(&wanted, path))),
                Err(error) => {
                    let (what, reason) = (wanted.what(), error.to_string());
                    missing.push(Missing { what, reason });
                    first.get_or_insert(error);
                }
            }
        }
        if cells.is_empty() {
            return Err(first.unwrap_or(PlanError::NoTests));
        }
        Ok(Self {
            schema: SCHEMA.to_owned(),
            asked,
            cells,
            missing,
            context: None,
        })
    }
}

impl Asked {
    /// The cells of a path: one for each segment size where it is swept.
    fn cells(&self, wanted: &Wanted, path: &Path) -> Vec<Cell> {
        let cell = |mss_bytes| Cell {
            row: wanted.row.map(str::to_owned),
            test: wanted.test,
            path: path.clone(),
            mss_bytes,
            outcome: Outcome::Waiting,
        };
        if wanted.sweep && !self.mss_bytes.is_empty() {
            let sizes = self.mss_bytes.iter().copied();
            sizes.map(Some).map(cell).collect()
        } else {
            vec![cell(None)]
        }
    }
}

/// The paths of a kind, one for each network where it crosses one. A network in which there is none
/// is left out where another has one: services are in the first alone.
fn paths(ends: &Ends<'_>, wanted: &Wanted, networks: &[String]) -> Result<Vec<Path>, PlanError> {
    let &Wanted {
        test,
        kind,
        backends,
        ..
    } = wanted;
    let mut paths = Vec::new();
    let mut refused = None;
    for network in networks {
        match ends.path(kind, backends, Some(network), test) {
            Ok(path) if paths.contains(&path) => {}
            Ok(path) => paths.push(path),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    if paths.is_empty() {
        Err(refused.unwrap_or_else(|| PlanError::NetworkUnnamed(test.to_string())))
    } else {
        Ok(paths)
    }
}
