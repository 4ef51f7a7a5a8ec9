//! Watches that go on for ever: with backoff when they break, and with what was missed told.

use std::{collections::HashSet, fmt::Debug};

use futures_util::StreamExt as _;
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};
use nettoll_core::reason;
use serde::de::DeserializeOwned;

/// What a watch tells.
pub(crate) enum Change<K> {
    /// It is there, or is other than before.
    There(K),
    /// What had this key is gone.
    Gone(String),
    /// All that is there has been told.
    Synced,
}

/// Watches until dropped. Objects that are `kept` are remembered by their `key`, so that those
/// that vanished while the watch was broken are told too.
pub(crate) async fn follow<K>(
    what: &'static str,
    api: Api<K>,
    config: watcher::Config,
    key: impl Fn(&K) -> String,
    kept: impl Fn(&K) -> bool,
    mut tell: impl FnMut(Change<K>),
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut known = HashSet::new();
    let mut listed: Option<HashSet<String>> = None;
    let mut broken = false;
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                if !broken {
                    tracing::warn!("the watch of {what} is broken: {}", reason(&error));
                }
                broken = true;
                continue;
            }
        };
        if broken {
            tracing::info!("the watch of {what} goes on");
            broken = false;
        }
        match event {
            Event::Init => listed = Some(HashSet::new()),
            Event::Apply(object) | Event::InitApply(object) => {
                if kept(&object) {
                    let key = key(&object);
                    if let Some(listed) = &mut listed {
                        listed.insert(key.clone());
                    }
                    known.insert(key);
                }
                tell(Change::There(object));
            }
            Event::Delete(object) => {
                let key = key(&object);
                known.remove(&key);
                tell(Change::Gone(key));
            }
            Event::InitDone => {
                let listed = listed.take().unwrap_or_default();
                for key in known.difference(&listed) {
                    tell(Change::Gone(key.clone()));
                }
                known = listed;
                tell(Change::Synced);
            }
        }
    }
}
