//! The nodes that jobs hold: [`Turns`] with a lock around and a way to wait.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nettoll_core::turns::{Ticket, Turns};
use tokio::sync::watch;

/// All nodes, as far as jobs hold some or wait for some.
#[derive(Default)]
pub(super) struct Nodes {
    turns: Mutex<Turns>,
    /// Tells of nodes that may be free.
    freed: watch::Sender<()>,
}

/// Nodes on which nothing else runs until this is dropped.
pub(crate) struct Hold {
    all: Arc<Nodes>,
    nodes: BTreeSet<String>,
}

impl Nodes {
    /// Takes all these nodes now, or says which one is not free.
    pub(super) fn take(self: &Arc<Self>, nodes: BTreeSet<String>) -> Result<Hold, String> {
        self.turns().take(&nodes)?;
        let all = Arc::clone(self);
        Ok(Hold { all, nodes })
    }

    /// Waits until it is the turn of `asker`, and all these nodes are free.
    pub(super) async fn wait(self: &Arc<Self>, asker: &str, nodes: BTreeSet<String>) -> Hold {
        let mut freed = self.freed.subscribe();
        let place = Place {
            all: self,
            ticket: self.turns().wait(asker, nodes),
        };
        loop {
            let claimed = self.turns().claim(place.ticket);
            if let Some(nodes) = claimed {
                let all = Arc::clone(self);
                return Hold { all, nodes };
            }
            // The sender is our own: it does not go away.
            let _ = freed.changed().await;
        }
    }

    /// Waits until no node is held.
    pub(super) async fn idle(&self) {
        let mut freed = self.freed.subscribe();
        while !self.turns().is_idle() {
            let _ = freed.changed().await;
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// The node is one of these.
    pub(super) fn covers(&self, node: &str) -> bool {
        self.nodes.contains(node)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.all.turns().give_back(&self.nodes);
        self.all.freed.send_replace(());
    }
}

/// A place among those who wait. One who goes away without his nodes holds up nobody.
struct Place<'a> {
    all: &'a Nodes,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.all.turns().leave(self.ticket);
        self.all.freed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[tokio::test]
    async fn who_waits_gets_what_others_give_back_or_stop_waiting_for() {
        let nodes = Arc::new(Nodes::default());
        let held = nodes.take(set(&["a"])).unwrap_or_else(|_| unreachable!());
        assert!(nodes.take(set(&["a", "b"])).is_err());
        let wait = |names: &'static [&str]| {
            let nodes = Arc::clone(&nodes);
            tokio::spawn(async move { nodes.wait("shop", set(names)).await })
        };
        let first = wait(&["a", "b"]);
        tokio::task::yield_now().await;
        let mut second = wait(&["b", "c"]);
        assert!(timeout(SOON, &mut second).await.is_err());
        first.abort();
        let second = second.await.unwrap();
        assert!(second.covers("c") && !second.covers("a"));
        assert!(timeout(SOON, nodes.idle()).await.is_err());
        drop((held, second));
        timeout(SOON, nodes.idle()).await.unwrap();
    }
}
