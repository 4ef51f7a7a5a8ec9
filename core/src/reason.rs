//! What an error says, with all that caused it.

use std::error::Error;

/// An error and its causes in one line, each part once: many libraries already write the cause
/// into their own text.
#[must_use]
pub fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    // kube writes a path with its own quotes into others: '"/path"'.
    let text = text.replace("'\"", "'").replace("\"'", "'");
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer{}", if *.1 { ": inner\nline" } else { "" })]
    struct Outer(#[source] Inner, bool);

    #[derive(Debug, thiserror::Error)]
    #[error("inner\nline")]
    struct Inner;

    #[test]
    fn a_path_has_one_pair_of_quotes() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read '{0:?}': gone")]
        struct Kube(std::path::PathBuf);
        assert_eq!(reason(&Kube("/a b".into())), "cannot read '/a b': gone");
    }

    #[test]
    fn causes_are_told_once_and_in_one_line() {
        assert_eq!(reason(&Outer(Inner, false)), "outer: inner line");
        assert_eq!(reason(&Outer(Inner, true)), "outer: inner line");
    }
}
