//! Label selectors as Kubernetes writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Labels of a node.
pub type Labels = BTreeMap<String, String>;

/// Longest selector.
const MAX_TEXT: usize = 1_024;
/// Longest name and value of a label.
const MAX_PART: usize = 63;
/// Longest prefix of a label's name.
const MAX_PREFIX: usize = 253;

/// Chooses nodes by their labels, as `kubectl get nodes --selector` does: `key=value`,
/// `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key` and `!key`, with commas between, all of
/// which must hold. The empty one chooses all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector {
    text: String,
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Exists,
    Absent,
    In(Vec<String>),
    /// A node without the label has none of the values.
    NotIn(Vec<String>),
}

/// What is wrong with a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Not of the syntax.
    #[error(
        "{0:?} is no part of a label selector; write key=value, key!=value, key in (a,b), \
         key notin (a,b), key or !key, with commas between"
    )]
    Part(String),
    /// Too long.
    #[error("a label selector has at most {MAX_TEXT} characters")]
    Long,
}

impl Selector {
    /// It chooses what has these labels.
    #[must_use]
    pub fn chooses(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|Requirement { key, what }| {
            let value = labels.get(key);
            let among = |values: &[String]| value.is_some_and(|value| values.contains(value));
            match what {
                What::Exists => value.is_some(),
                What::Absent => value.is_none(),
                What::In(values) => among(values),
                What::NotIn(values) => !among(values),
            }
        })
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;

    fn try_from(text: String) -> Result<Self, SelectorError> {
        if text.len() > MAX_TEXT {
            return Err(SelectorError::Long);
        }
        let requirements = if text.trim().is_empty() {
            Vec::new()
        } else {
            parts(&text)
                .into_iter()
                .map(|part| {
                    requirement(part.trim()).ok_or_else(|| SelectorError::Part(part.to_owned()))
                })
                .collect::<Result<_, _>>()?
        };
        Ok(Self { text, requirements })
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.text
    }
}

/// What lies between commas that are in no brackets.
fn parts(text: &str) -> Vec<&str> {
    let mut open = false;
    text.split(|c| {
        open = (open || c == '(') && c != ')';
        c == ',' && !open
    })
    .collect()
}

fn requirement(part: &str) -> Option<Requirement> {
    let (key, what) = if let Some(key) = part.strip_prefix('!') {
        (key, What::Absent)
    } else if let Some((key, value)) = part.split_once("!=") {
        (key, What::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, What::In(vec![value.trim().to_owned()]))
    } else if let Some((key, rest)) = part.split_once(char::is_whitespace) {
        let (word, list) = rest.split_once('(')?;
        let list = list.strip_suffix(')')?.split(',');
        let values = list.map(|value| value.trim().to_owned()).collect();
        match word.trim() {
            "in" => (key, What::In(values)),
            "notin" => (key, What::NotIn(values)),
            _ => return None,
        }
    } else {
        (part, What::Exists)
    };
    let key = key.trim();
    let good = match &what {
        What::Exists | What::Absent => true,
        What::In(values) | What::NotIn(values) => values
            .iter()
            .all(|value| value.is_empty() || is_name(value)),
    };
    let key = (good && is_key(key)).then(|| key.to_owned())?;
    Some(Requirement { key, what })
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => {
            let of_prefix =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            (1..=MAX_PREFIX).contains(&prefix.len())
                && prefix.chars().all(of_prefix)
                && is_name(name)
        }
        None => is_name(key),
    }
}

/// A label's name, or a value that is not empty.
fn is_name(text: &str) -> bool {
    let at_ends = |c: char| c.is_ascii_alphanumeric();
    (1..=MAX_PART).contains(&text.len())
        && text.chars().all(|c| at_ends(c) || "-_.".contains(c))
        && text.starts_with(at_ends)
        && text.ends_with(at_ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> Result<Selector, SelectorError> {
        text.to_owned().try_into()
    }

    #[test]
    fn nodes_are_chosen_as_kubectl_does() {
        let labels: Labels = [
            ("zone", "a"),
            ("node-role.kubernetes.io/worker", ""),
            ("gpu", "no"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        for (text, chosen) in [
            ("", true),
            (" ", true),
            ("zone=a", true),
            ("zone == a", true),
            ("zone=b", false),
            ("zone!=a", false),
            ("zone != b", true),
            ("absent!=b", true),
            ("absent=", false),
            ("node-role.kubernetes.io/worker", true),
            ("node-role.kubernetes.io/worker=", true),
            ("!node-role.kubernetes.io/worker", false),
            ("!absent", true),
            ("absent", false),
            ("zone in (b, a)", true),
            ("zone in(a)", true),
            ("zone in (b,c)", false),
            ("absent in (a)", false),
            ("zone notin (a,b)", false),
            ("absent notin (a,b)", true),
            ("zone in (a,b),gpu!=yes", true),
            ("zone in (a,b), gpu notin (no), zone", false),
        ] {
            assert_eq!(selector(text).unwrap().chooses(&labels), chosen, "{text:?}");
        }
    }

    #[test]
    fn what_is_none_is_refused_by_its_part() {
        for text in [
            "zone=a,",
            ",",
            "zone in a",
            "zone in (a",
            "zone near (a)",
            "zone>3",
            "-zone",
            "zone=a b",
            "a/b/c",
            "/a",
            "Prefix/a",
            "zone=ä",
            "!",
        ] {
            let told = selector(text).unwrap_err().to_string();
            assert!(told.contains("key=value"), "{text:?}: {told}");
        }
        assert!(selector(&"a".repeat(64)).is_err());
        assert_eq!(selector(&"a,".repeat(600)), Err(SelectorError::Long));
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        let text = "zone in (a, b),!gpu";
        let json = serde_json::to_string(&selector(text).unwrap()).unwrap();
        assert_eq!(json, format!("{text:?}"));
        let again: Selector = serde_json::from_str(&json).unwrap();
        assert_eq!(again, selector(text).unwrap());
    }
}
