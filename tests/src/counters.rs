//! What the kernel itself counts, beside the probe.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context as _, Result};
use nettoll_lab::netns;

use crate::output_of;

/// Reads a file of /proc/net as a thread in the namespace sees it.
///
/// # Errors
/// Where it cannot be read.
pub fn proc_net(namespace: &str, file: &str) -> Result<String> {
    let path = format!("/proc/thread-self/net/{file}");
    netns::within(namespace, || fs::read_to_string(&path))?.with_context(|| path.clone())
}

/// A counter of /proc/net/snmp, which has a line of names and a line of values per protocol.
///
/// # Errors
/// Where there is none.
pub fn snmp(namespace: &str, protocol: &str, name: &str) -> Result<u64> {
    let text = proc_net(namespace, "snmp")?;
    let mut lines = text.lines().filter(|line| line.starts_with(protocol));
    let (names, values) = lines.next().zip(lines.next()).context("no such protocol")?;
    let counters: BTreeMap<_, _> = names
        .split_whitespace()
        .zip(values.split_whitespace())
        .collect();
    Ok(counters.get(name).context("no such counter")?.parse()?)
}

/// What a program prints that is run in a network namespace.
///
/// # Errors
/// Where it fails, with what it said.
pub fn run_in(namespace: &str, command: &[&str], input: &str) -> Result<String> {
    let all = [&["netns", "exec", namespace], command].concat();
    output_of(Command::new("ip").args(all), &command.join(" "), input)
}

/// The number that follows a word in a program's output.
///
/// # Errors
/// Where there is none.
pub fn number_after(text: &str, word: &str) -> Result<u64> {
    let rest = text.split_once(word).map(|(_, rest)| rest.trim_start());
    let number = rest.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let number = number.flatten().unwrap_or_default();
    number
        .parse()
        .with_context(|| format!("no number after '{word}' in:\n{text}"))
}
