//! Whose turn it is to have nodes for a heavy test: never are there two on one node.
//!
//! A heavy test is all that a job runs. It [takes](Turns::take) its nodes at once or not at all, or
//! [waits](Turns::wait) for them. Those who wait are served in rounds, each asker once a round, so
//! that one who asks for much holds up nobody for longer than one of his tests. Who comes first
//! has his nodes kept for him while he waits for the last of them: nobody is overtaken for ever.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod tests;

/// The nodes that are taken, and who waits for some.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    taken: BTreeSet<String>,
    waiting: BTreeMap<Ticket, BTreeSet<String>>,
    /// The latest round in which anyone was served.
    round: u64,
    /// The round of the last ticket of each asker, where it is a later one than that.
    given: BTreeMap<String, u64>,
    /// Tickets so far.
    tickets: u64,
}

/// A place among those who wait, the earlier the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    round: u64,
    number: u64,
}

impl Turns {
    /// Takes all these nodes, or none where one is taken or waited for: that one is the error.
    pub fn take(&mut self, nodes: &BTreeSet<String>) -> Result<(), String> {
        let wanted = |node: &str| self.waiting.values().any(|nodes| nodes.contains(node));
        let busy = |node: &&String| self.taken.contains(*node) || wanted(node);
        if let Some(node) = nodes.iter().find(busy) {
            return Err(node.clone());
        }
        self.taken.extend(nodes.iter().cloned());
        Ok(())
    }

    /// Waits for nodes, as `asker`'s next.
    pub fn wait(&mut self, asker: &str, nodes: BTreeSet<String>) -> Ticket {
        let last = self.given.get(asker).copied().unwrap_or_default();
        let round = last.max(self.round) + 1;
        self.given.insert(asker.to_owned(), round);
        self.tickets += 1;
        let ticket = Ticket {
            round,
            number: self.tickets,
        };
        self.waiting.insert(ticket, nodes);
        ticket
    }

    /// Takes the nodes that a ticket waits for; `None` while one of them is taken, or waited for
    /// by an earlier ticket.
    pub fn claim(&mut self, ticket: Ticket) -> Option<BTreeSet<String>> {
        let nodes = self.waiting.get(&ticket)?;
        let mut before = self.waiting.range(..ticket).map(|(_, nodes)| nodes);
        if !(self.taken.is_disjoint(nodes) && before.all(|before| before.is_disjoint(nodes))) {
            return None;
        }
        let nodes = self.waiting.remove(&ticket)?;
        self.taken.extend(nodes.iter().cloned());
        self.round = self.round.max(ticket.round);
        self.given.retain(|_, round| *round > self.round);
        Some(nodes)
    }

    /// Waits no more.
    pub fn leave(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
        if self.waiting.is_empty() {
            self.given.clear();
        }
    }

    /// Gives nodes back.
    pub fn give_back(&mut self, nodes: &BTreeSet<String>) {
        self.taken.retain(|node| !nodes.contains(node));
    }

    /// No node is taken.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.taken.is_empty()
    }
}
