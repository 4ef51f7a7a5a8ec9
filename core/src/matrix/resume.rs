//! A matrix that was interrupted goes on.

use super::{Asked, Matrix, Outcome};

/// What was measured is of another matrix than the one that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is another matrix ({0}): ask for the same, or give another folder")]
pub struct Mismatch(String);

impl Asked {
    /// Whether the same is asked for now.
    ///
    /// # Errors
    /// Names the first option that differs.
    pub fn same_as(&self, now: &Self) -> Result<(), Mismatch> {
        let pair = [self, now].map(|asked| serde_json::to_value(asked).unwrap_or_default());
        let [Some(then), Some(now)] = pair.each_ref().map(serde_json::Value::as_object) else {
            return Ok(());
        };
        let mut names = then.keys().filter(|name| then.get(*name) != now.get(*name));
        names.next().map_or(Ok(()), |name| {
            let value = |of: &serde_json::Map<_, _>| of.get(name).cloned().unwrap_or_default();
            Err(Mismatch(format!(
                "{name}: {} then, {} now",
                value(then),
                value(now)
            )))
        })
    }
}

impl Matrix {
    /// Takes over what an earlier attempt at this matrix measured. Its cells that failed, or are
    /// invalid, are measured again.
    ///
    /// # Errors
    /// It was asked for something else, or the endpoints were others.
    pub fn resumed(self, earlier: Self) -> Result<Self, Mismatch> {
        earlier.asked.same_as(&self.asked)?;
        if earlier.cells.len() != self.cells.len() {
            let (then, now) = (earlier.cells.len(), self.cells.len());
            return Err(Mismatch(format!("{then} cells then, {now} now")));
        }
        let mut resumed = Self {
            context: earlier.context,
            ..self
        };
        for (cell, then) in resumed.cells.iter_mut().zip(earlier.cells) {
            let what = |cell: &super::Cell| {
                let (row, path) = (cell.row.clone(), cell.path.clone());
                (cell.test, row, path, cell.mss_bytes)
            };
            if what(cell) != what(&then) {
                let ends = |cell: &super::Cell| {
                    format!("{} {} → {}", cell.label(), cell.path.from, cell.path.to)
                };
                let (then, now) = (ends(&then), ends(cell));
                return Err(Mismatch(format!("{then} then, {now} now")));
            }
            if then.fault().is_none() {
                cell.outcome = then.outcome;
            }
        }
        let none_left = |cell: &super::Cell| cell.outcome == Outcome::Waiting;
        if resumed.cells.iter().all(none_left) {
            // A new beginning, on nodes as they are now.
            resumed.context = None;
        }
        Ok(resumed)
    }
}
