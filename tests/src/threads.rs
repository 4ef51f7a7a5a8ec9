//! The threads of a process, as the kernel shows them.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};

/// A thread's status at one moment.
#[derive(Debug)]
pub struct Thread(BTreeMap<String, String>);

impl Thread {
    /// All threads of the process with this folder of `/proc`.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn all(process: &Path) -> Result<Vec<Self>> {
        let tasks = fs::read_dir(process.join("task"))?.collect::<Result<Vec<_>, _>>()?;
        // One that ended meanwhile has no status.
        let statuses = tasks
            .iter()
            .filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
        Ok(statuses.map(|text| Self::parse(&text)).collect())
    }

    fn parse(status: &str) -> Self {
        let fields = status.lines().filter_map(|line| line.split_once(':'));
        Self(
            fields
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect(),
        )
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        self.field("Name").unwrap_or_default()
    }

    /// A set of capabilities, such as `CapEff`, a bit each.
    ///
    /// # Errors
    /// Where the kernel does not show it.
    pub fn capabilities(&self, set: &str) -> Result<u64> {
        let text = self.field(set)?;
        u64::from_str_radix(text, 16).with_context(|| format!("{set}: {text}"))
    }

    /// Whether no program that it executes can give it more.
    ///
    /// # Errors
    /// Where the kernel does not say so.
    pub fn gains_nothing(&self) -> Result<bool> {
        Ok(self.field("NoNewPrivs")? == "1")
    }

    fn field(&self, name: &str) -> Result<&str> {
        let value = self.0.get(name);
        value
            .map(String::as_str)
            .with_context(|| format!("no {name}: {self:?}"))
    }
}
