//! Series by their labels, of which there are never too many.

use std::collections::BTreeMap;

/// A map with an end. What comes beyond it is left out and counted.
#[derive(Debug)]
pub(super) struct Capped<K, V> {
    most: usize,
    entries: BTreeMap<K, V>,
    left_out: u64,
}

impl<K: Ord, V> Capped<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            entries: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// What is known by this key, or a new entry; `None`, and counted, where there is no place
    /// left.
    pub(super) fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> Option<&mut V> {
        if self.entries.len() >= self.most && !self.entries.contains_key(&key) {
            self.left_out += 1;
            return None;
        }
        Some(self.entries.entry(key).or_insert_with(new))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter()
    }

    /// How often something was left out.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_goes_on_where_nothing_new_is_taken() {
        let mut capped = Capped::new(3);
        for key in 0..5 {
            assert_eq!(capped.entry(key, || key).is_some(), key < 3);
        }
        *capped.entry(0, || 7).unwrap() += 100;
        assert_eq!(capped.iter().map(|(_, value)| *value).sum::<i32>(), 103);
        assert_eq!(capped.left_out(), 2);
    }
}
