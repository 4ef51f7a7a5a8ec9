//! The configuration, taken up again when its file changes, as a ConfigMap's does.
//!
//! What cannot be used is refused with an Event about the own pod, and the one before stays.

use std::{convert::Infallible, path::Path, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::sleep;

use super::{
    Place,
    client::ask,
    note::{self, Mood, Subject},
};
use crate::config::Config;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(5);

/// As the file is now: it may have changed while this instance waited for the Lease. Of one that
/// cannot be used [`follow`] tells.
pub(super) fn now(path: Option<&Path>, config: Config) -> Config {
    match path.map(Config::read) {
        Some(Ok(new)) => {
            if new.metrics_listen != config.metrics_listen {
                tracing::warn!("metrics_listen is taken up at the next start");
            }
            new
        }
        Some(Err(_)) | None => config,
    }
}

/// Follows the file for ever, and tells of each new configuration.
pub(crate) async fn follow(
    path: Option<&Path>,
    mut config: Config,
    client: &Client,
    place: &Place,
    mut take: impl FnMut(&Config),
) -> Infallible {
    let Some(path) = path else {
        return std::future::pending().await;
    };
    let mut seen = None;
    loop {
        sleep(PERIOD).await;
        let found = tokio::fs::read(path).await.ok();
        if found == seen {
            continue;
        }
        seen = found;
        match Config::read(path) {
            Ok(new) if new == config => {}
            Ok(new) => {
                tracing::info!("took up the configuration {}", path.display());
                if !same_at_start(&new, &config) {
                    tracing::warn!(
                        "listen, metrics_listen and kubernetes.network are taken up at the next start"
                    );
                }
                take(&new);
                config = new;
            }
            Err(error) => {
                let message = format!("the configuration before stays in use: {error}");
                tracing::error!("{message}");
                tell(client, place, &message).await;
            }
        }
    }
}

fn same_at_start(one: &Config, other: &Config) -> bool {
    one.listen == other.listen
        && one.metrics_listen == other.metrics_listen
        && one.kubernetes == other.kubernetes
}

/// In an Event about the own pod, where this is one.
async fn tell(client: &Client, place: &Place, message: &str) {
    let Place {
        namespace,
        identity,
    } = place;
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let told = async {
        let Some(pod) = ask("read the own pod", api.get_opt(identity)).await? else {
            return Ok(());
        };
        let subject = Subject {
            namespace: namespace.clone(),
            name: identity.clone(),
            uid: pod.uid().unwrap_or_default(),
        };
        let reason = "NettollConfigurationRefused";
        note::write(
            client,
            &note::event(&subject, Mood::Warning, reason, message),
        )
        .await
    };
    if let Err(error) = told.await {
        tracing::warn!("{error}");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use super::*;

    #[test]
    fn who_waited_begins_with_the_file_as_it_is() {
        let path = std::env::temp_dir().join(format!("nettoll-reload-{}.toml", process::id()));
        fs::write(&path, "[on_demand]\ntests_per_hour = 1\n").unwrap();
        let changed = now(Some(&path), Config::default());
        fs::write(&path, "[on_demand]\ntests_per_hour = many\n").unwrap();
        let kept = now(Some(&path), changed.clone());
        fs::remove_file(&path).unwrap();
        assert_eq!(changed.on_demand.policy().tests_per_hour, 1);
        assert_eq!(kept, changed);
        assert_eq!(now(None, changed.clone()), changed);
    }
}
