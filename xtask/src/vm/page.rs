//! `docs/kernels.md`: what ran on which kernel, and what each kernel says of itself.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{places::Places, vm::machine::Boot};

/// In the workspace.
const FILE: &str = "docs/kernels.md";

const HEAD: &str = "\
<!-- written by 'cargo xtask vm --write-docs' -->
# Kernels

What ran on which kernel. Each is a kernel of Debian for virtual machines, booted under QEMU with the
built binaries inside, by `cargo xtask vm`; the lane `vm` of `cargo xtask test` does it with those of
bookworm and trixie. Other kernels from 5.15 on are intended to work: [`nettoll-agent
doctor`](doctor.md) tries all of this on the one that runs. What is not there is –, and so is a test that
did not pass.
";

/// What the doctor said, as far as it goes into the page.
#[derive(Debug, Deserialize)]
struct Doctor {
    hooks: Vec<Hook>,
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Hook {
    name: String,
    kind: String,
    reason: String,
    arguments: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Member {
    structure: String,
    member: String,
    offset: Option<u32>,
}

/// A column of the page.
struct Column<'a> {
    boot: &'a Boot,
    doctor: Doctor,
}

/// Writes the page.
pub(crate) fn write(boots: &[Boot], places: &Places) -> Result<()> {
    let page = page(boots)?;
    let file = places.root.join(FILE);
    fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    println!("{}", file.display());
    Ok(())
}

fn page(boots: &[Boot]) -> Result<String> {
    let columns = boots.iter().map(column).collect::<Result<Vec<_>>>()?;
    let mut text = HEAD.to_owned();
    heading(&mut text, "Tests", &columns, "test");
    row(
        &mut text,
        "suite",
        columns.iter().map(|it| it.boot.suite.to_string()),
    );
    for name in tests(&columns) {
        let outcome = |column: &Column<'_>| outcome(column.boot, &name);
        row(&mut text, &name, columns.iter().map(outcome));
    }

    heading(&mut text, "Hooks", &columns, "hook");
    for (kind, name) in union(&columns, |doctor| {
        let hooks = doctor.hooks.iter();
        hooks
            .map(|hook| (hook.kind.clone(), hook.name.clone()))
            .collect()
    }) {
        let found = |column: &Column<'_>| {
            let hook = column.doctor.hooks.iter().find(|hook| hook.name == name);
            hook.map_or_else(|| "–".to_owned(), |hook| words(&hook.reason))
        };
        row(
            &mut text,
            &format!("{kind} `{name}`"),
            columns.iter().map(found),
        );
    }

    text += "\nArguments of the tracepoints, as each kernel describes them:\n";
    heading(&mut text, "", &columns, "tracepoint");
    for name in union(&columns, |doctor| {
        let hooks = doctor.hooks.iter().filter(|hook| hook.arguments.is_some());
        hooks.map(|hook| hook.name.clone()).collect()
    }) {
        let found = |column: &Column<'_>| {
            let hook = column.doctor.hooks.iter().find(|hook| hook.name == name);
            let arguments = hook.and_then(|hook| hook.arguments.as_deref());
            arguments.map_or_else(|| "–".to_owned(), types)
        };
        row(&mut text, &format!("`{name}`"), columns.iter().map(found));
    }

    heading(&mut text, "Members", &columns, "bytes from the begin");
    for (structure, member) in union(&columns, |doctor| {
        let members = doctor.members.iter();
        members
            .map(|it| (it.structure.clone(), it.member.clone()))
            .collect()
    }) {
        let found = |column: &Column<'_>| {
            let mut members = column.doctor.members.iter();
            let found = members.find(|it| it.structure == structure && it.member == member);
            let offset = found.and_then(|member| member.offset);
            offset.map_or_else(|| "–".to_owned(), |offset| offset.to_string())
        };
        row(
            &mut text,
            &format!("`{structure}.{member}`"),
            columns.iter().map(found),
        );
    }
    Ok(text)
}

fn column(boot: &Boot) -> Result<Column<'_>> {
    let release = &boot.release;
    let doctor = boot
        .transcript
        .of("doctor.json")
        .context("the doctor said nothing")?;
    let doctor = serde_json::from_str(&doctor.text());
    let doctor = doctor.with_context(|| format!("what the doctor said on {release}"))?;
    Ok(Column { boot, doctor })
}

/// `6 passed` of a test program.
fn outcome(boot: &Boot, name: &str) -> String {
    let part = boot.transcript.of(name);
    let tally = part.map(|part| super::tally(&part.lines));
    tally.map_or_else(
        || "–".to_owned(),
        |tally| format!("{} passed", tally.passed),
    )
}

/// The test programs, in the order in which they ran.
fn tests(columns: &[Column<'_>]) -> Vec<String> {
    let parts = columns
        .iter()
        .flat_map(|column| &column.boot.transcript.parts);
    let mut names: Vec<String> = Vec::new();
    for part in parts.filter(|part| part.name.starts_with("vm_")) {
        if !names.contains(&part.name) {
            names.push(part.name.clone());
        }
    }
    names
}

/// What any of the kernels has, in the first one's order.
fn union<K: Ord + Clone>(columns: &[Column<'_>], keys: impl Fn(&Doctor) -> Vec<K>) -> Vec<K> {
    let mut seen = BTreeSet::new();
    let keys = columns.iter().flat_map(|column| keys(&column.doctor));
    keys.filter(|key| seen.insert(key.clone())).collect()
}

/// Types of arguments, which have no names here: `sk_buff *, int`.
fn types(arguments: &[String]) -> String {
    let ty = |argument: &String| argument.trim().replace("struct ", "");
    arguments.iter().map(ty).collect::<Vec<_>>().join(", ")
}

fn words(reason: &str) -> String {
    reason.replace('_', " ")
}

fn heading(text: &mut String, title: &str, columns: &[Column<'_>], first: &str) {
    if !title.is_empty() {
        // Writing to a text cannot fail.
        let _ = write!(text, "\n## {title}\n");
    } else {
        text.push('\n');
    }
    row(
        text,
        first,
        columns.iter().map(|column| column.boot.release.clone()),
    );
    row(text, "---", columns.iter().map(|_| "---".to_owned()));
}

fn row(text: &mut String, first: &str, rest: impl Iterator<Item = String>) {
    let _ = write!(text, "| {first} |");
    for cell in rest {
        let _ = write!(text, " {cell} |");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The cells of each row of the tables.
    fn tables(page: &str) -> Vec<Vec<&str>> {
        let rows = page.lines().filter(|line| line.starts_with('|'));
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
            .collect()
    }

    #[test]
    fn the_page_is_whole_and_names_what_there_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let page = fs::read_to_string(root.join(FILE)).unwrap();
        assert!(page.starts_with("<!-- written by 'cargo xtask vm --write-docs' -->\n# Kernels\n"));
        let rows = tables(&page);
        let columns = rows[0].len();
        assert!(columns > 2, "one kernel is no matrix");
        for row in &rows {
            assert_eq!(row.len(), columns, "{row:?}");
            assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        }
        let first = |cell: &str| rows.iter().find(|row| row[0] == cell);
        for tracepoint in nettoll_core::kernel::TRACEPOINTS {
            let name = tracepoint.name;
            let row = first(&format!("tp_btf `{name}`")).unwrap_or_else(|| panic!("no {name}"));
            // It came with Linux 6.4.
            let is_new = name == "sk_data_ready";
            let known = |cell: &str| cell == "attached" || is_new && cell == "not in kernel";
            assert!(row[1..].iter().all(|cell| known(cell)), "{row:?}");
        }
        for member in nettoll_core::kernel::MEMBERS {
            let name = format!("`{}.{}`", member.structure, member.member);
            let row = first(&name).unwrap_or_else(|| panic!("no {name}"));
            assert!(
                row[1..].iter().all(|cell| cell.parse::<u32>().is_ok()),
                "{row:?}"
            );
        }
        for file in fs::read_dir(root.join("tests/tests")).unwrap() {
            let name = file
                .unwrap()
                .file_name()
                .to_string_lossy()
                .replace(".rs", "");
            if name.starts_with("vm_") {
                let row = first(&name).unwrap_or_else(|| panic!("no {name}"));
                assert!(
                    row[1..]
                        .iter()
                        .all(|cell| *cell == "–" || cell.ends_with(" passed")),
                    "{row:?}"
                );
            }
        }
    }

    #[test]
    fn arguments_are_shown_by_type() {
        let arguments = ["struct sk_buff *", "int ", "enum skb_drop_reason "];
        let shown = "sk_buff *, int, enum skb_drop_reason";
        assert_eq!(types(&arguments.map(str::to_owned)), shown);
    }
}
