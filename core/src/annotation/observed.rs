//! The hash of the inputs.

use std::collections::BTreeMap;

use super::INPUTS;
use crate::hash::Fnv;

/// The hash of a pod's four inputs, 16 hexadecimal digits: FNV-1a of 64 bits over each of
/// [`INPUTS`] in that order, as a byte 1, its length in 8 bytes, the lowest first, and its bytes;
/// or as a byte 0 where it is not there.
///
/// It is the same in all versions of nettoll: with another hash every answered pod would be tested
/// again after an update. It tells changes from repetitions and protects from nothing.
#[must_use]
pub fn observed(annotations: &BTreeMap<String, String>) -> String {
    let mut hash = Fnv::new();
    for key in INPUTS {
        match annotations.get(key) {
            Some(value) => {
                hash.add(&[1]);
                hash.add(&(value.len() as u64).to_le_bytes());
                hash.add(value.as_bytes());
            }
            None => hash.add(&[0]),
        }
    }
    format!("{:016x}", hash.value())
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    fn of(pairs: &[(&str, &str)]) -> String {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        observed(&pairs.iter().map(own).collect())
    }

    #[test]
    fn only_the_inputs_count() {
        let base = of(&[(PAIR, "pod/a/b")]);
        assert_eq!(base.len(), 16);
        let same = [(PAIR, "pod/a/b"), (STATUS, "done"), ("other", "x")];
        assert_eq!(of(&same), base);
        for other in [
            &[(PAIR, "pod/a/c")][..],
            &[(PAIR, "pod/a/b"), (RUN, "")],
            &[(PAIR, "pod/a/b"), (RUN, "2")],
            &[(PAIR, "pod/a/b"), (SECONDS, "2")],
            &[(PAIR, "pod/a/b"), (TESTS, "2")],
            &[],
        ] {
            assert_ne!(of(other), base, "{other:?}");
        }
        // No value runs into the next one.
        assert_ne!(
            of(&[(TESTS, "ab"), (SECONDS, "c")]),
            of(&[(TESTS, "a"), (SECONDS, "bc")])
        );
    }

    #[test]
    fn the_hash_stays_what_it_is() {
        assert_eq!(of(&[]), "4d25767f9dce13f5");
        assert_eq!(
            of(&[(PAIR, "pod/lab/n2-a"), (RUN, "1")]),
            "89d588b26139f477"
        );
    }
}
