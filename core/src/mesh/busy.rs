//! Which nodes are taken by a heavy test.

use std::collections::BTreeSet;

/// The nodes on which a heavy test (a stream, or a test on demand) runs now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Busy(BTreeSet<String>);

impl Busy {
    /// Takes all these nodes, or none where one is taken already. A node may be named twice: a
    /// test within one node takes it once.
    #[must_use]
    pub fn take(&mut self, nodes: &[&str]) -> bool {
        let free = nodes.iter().all(|node| !self.0.contains(*node));
        if free {
            self.0.extend(nodes.iter().map(|node| (*node).to_owned()));
        }
        free
    }

    /// Gives them back.
    pub fn give_back(&mut self, nodes: &[&str]) {
        nodes.iter().for_each(|node| {
            self.0.remove(*node);
        });
    }

    /// Nothing heavy runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn no_node_ever_has_two_heavy_tests() {
        let mut random = SplitMix64::new(3);
        let mut busy = Busy::default();
        let mut running: Vec<[String; 2]> = Vec::new();
        let mut started = 0;
        for _ in 0..20_000 {
            if random.below(2) == 0 && !running.is_empty() {
                let ended = running.swap_remove(random.below(running.len()));
                busy.give_back(&[&ended[0], &ended[1]]);
            } else {
                let nodes = [0, 1].map(|_| format!("n{}", random.below(30)));
                if busy.take(&[&nodes[0], &nodes[1]]) {
                    running.push(nodes);
                    started += 1;
                }
            }
            let mut all: Vec<&String> = Vec::new();
            for [from, to] in &running {
                all.push(from);
                if to != from {
                    all.push(to);
                }
            }
            let distinct: BTreeSet<_> = all.iter().collect();
            assert_eq!(all.len(), distinct.len(), "{running:?}");
        }
        assert!(started > 1_000);
        running.iter().for_each(|[a, b]| busy.give_back(&[a, b]));
        assert!(busy.is_empty());
    }

    #[test]
    fn where_one_is_taken_none_is() {
        let mut busy = Busy::default();
        assert!(busy.take(&["a", "b"]));
        assert!(!busy.take(&["c", "a"]));
        assert!(busy.take(&["c", "c"]));
    }
}
