//! The files of TLS as they change: an agent of a cluster may begin before its certificate is
//! made, and gets a new one long before it ends.

use std::{
    convert::Infallible,
    fs, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;

use super::acceptor;
use crate::{config::Tls, privilege::Privileged};

/// Between two looks at the files. Kubelet needs a minute and more to bring a changed Secret.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What the three files held, as far as they could be read.
type Contents = [Result<Vec<u8>, io::ErrorKind>; 3];

/// The acceptor of the newest files that were good.
pub(crate) struct Keeper {
    tls: Tls,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    seen: Option<Contents>,
    acceptor: Option<TlsAcceptor>,
    /// Why what was seen last is not in force.
    refused: Option<String>,
}

impl Keeper {
    /// Looks at the files for the first time.
    pub(crate) fn new(tls: Tls) -> Arc<Self> {
        let keeper = Arc::new(Self {
            tls,
            kept: Mutex::default(),
        });
        keeper.look();
        keeper
    }

    /// For new connections; none before there were good files.
    pub(crate) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.kept().acceptor.clone()
    }

    /// Why nobody can be let in yet.
    pub(crate) fn waits_for(&self) -> Option<String> {
        let kept = self.kept();
        match &kept.acceptor {
            Some(_) => None,
            None => kept.refused.clone(),
        }
    }

    /// Follows the files for ever. Connections that are open stay so. The files may be readable
    /// only with privilege.
    pub(crate) async fn follow(self: Arc<Self>, privileged: Privileged) -> Infallible {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let keeper = self.clone();
            if privileged.run(move || keeper.look()).await.is_none() {
                tracing::error!("looking at the files of [tls] failed");
            }
        }
    }

    /// Takes the files where they changed. Those that are no good, such as half of a change, leave
    /// the old ones in force. They are tried again: a certificate of a clock that is ahead of this
    /// node's becomes valid without a change.
    fn look(&self) {
        let seen = contents(&self.tls);
        let mut kept = self.kept();
        let known = kept.seen.as_ref() == Some(&seen);
        if known && kept.refused.is_none() {
            return;
        }
        match acceptor(&self.tls) {
            Ok(acceptor) => {
                if kept.seen.is_some() {
                    tracing::info!("the files of [tls] changed and are in force");
                }
                kept.acceptor = Some(acceptor);
                kept.refused = None;
            }
            Err(error) => {
                if !known {
                    let then = match kept.acceptor {
                        Some(_) => "goes on with what it had",
                        None => "waits",
                    };
                    tracing::warn!("{error}; the agent {then}");
                }
                kept.refused = Some(error.to_string());
            }
        }
        // What was read first: if the files changed meanwhile, the next look sees it.
        kept.seen = Some(seen);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // Each change is whole after each statement.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn contents(tls: &Tls) -> Contents {
    [&tls.ca, &tls.certificate, &tls.key].map(|path| fs::read(path).map_err(|error| error.kind()))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, path::Path, thread, time::Instant};

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tempfile::TempDir;
    use time::OffsetDateTime;

    use super::*;

    /// A folder as kubelet mounts a Secret: links over `..data`, which it swaps.
    struct Mount(TempDir);

    impl Mount {
        fn new() -> Self {
            let folder = TempDir::new().unwrap();
            for name in ["ca.crt", "tls.crt", "tls.key"] {
                symlink(Path::new("..data").join(name), folder.path().join(name)).unwrap();
            }
            Self(folder)
        }

        fn tls(&self) -> Tls {
            let [ca, certificate, key] =
                ["ca.crt", "tls.crt", "tls.key"].map(|name| self.0.path().join(name));
            Tls {
                ca,
                certificate,
                key,
            }
        }

        fn put(&self, version: &str, files: [(&str, &str); 3]) {
            let at = |name: &str| self.0.path().join(name);
            fs::create_dir(at(version)).unwrap();
            for (name, text) in files {
                fs::write(at(version).join(name), text).unwrap();
            }
            symlink(version, at("..new")).unwrap();
            fs::rename(at("..new"), at("..data")).unwrap();
        }
    }

    /// A CA, a certificate of it and that one's key.
    fn certificates() -> [String; 3] {
        certificates_from(OffsetDateTime::UNIX_EPOCH)
    }

    /// The certificate begins then.
    fn certificates_from(begin: OffsetDateTime) -> [String; 3] {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = parameters.self_signed(&key).unwrap();
        let issuer = Issuer::new(parameters, key);
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(["agent.nettoll".to_owned()]).unwrap();
        parameters.not_before = begin;
        let agent = parameters.signed_by(&key, &issuer).unwrap();
        [ca.pem(), agent.pem(), key.serialize_pem()]
    }

    fn files(of: &[String; 3]) -> [(&str, &str); 3] {
        [("ca.crt", &of[0]), ("tls.crt", &of[1]), ("tls.key", &of[2])]
    }

    /// Which acceptor it is.
    fn id(keeper: &Keeper) -> *const rustls::ServerConfig {
        Arc::as_ptr(keeper.acceptor().unwrap().config())
    }

    #[test]
    fn it_waits_for_files_and_takes_new_ones() {
        let mount = Mount::new();
        let keeper = Keeper::new(mount.tls());
        assert!(keeper.acceptor().is_none());
        assert!(keeper.waits_for().unwrap().contains("ca.crt"));

        mount.put("..1", files(&certificates()));
        keeper.look();
        assert_eq!(keeper.waits_for(), None);
        let first = id(&keeper);
        keeper.look();
        assert_eq!(id(&keeper), first, "nothing changed");

        mount.put("..2", files(&certificates()));
        keeper.look();
        assert_ne!(id(&keeper), first);
    }

    #[test]
    fn a_certificate_is_taken_when_it_begins() {
        let mount = Mount::new();
        let soon = OffsetDateTime::now_utc() + Duration::from_secs(2);
        mount.put("..1", files(&certificates_from(soon)));
        let keeper = Keeper::new(mount.tls());
        assert!(keeper.acceptor().is_none());
        assert!(keeper.waits_for().unwrap().contains("not valid yet"));
        let until = Instant::now() + Duration::from_secs(20);
        while keeper.waits_for().is_some() && Instant::now() < until {
            thread::sleep(Duration::from_millis(100));
            keeper.look();
        }
        assert_eq!(keeper.waits_for(), None);
    }

    #[test]
    fn it_keeps_the_old_ones_where_new_ones_are_bad_or_gone() {
        let mount = Mount::new();
        let (old, new) = (certificates(), certificates());
        mount.put("..1", files(&old));
        let keeper = Keeper::new(mount.tls());
        let first = id(&keeper);

        let [ca, certificate, _] = files(&new);
        mount.put("..2", [ca, certificate, files(&old)[2]]);
        keeper.look();
        assert_eq!(id(&keeper), first, "another certificate's key");
        fs::remove_file(mount.0.path().join("..data")).unwrap();
        keeper.look();
        assert_eq!(id(&keeper), first, "no files");
        assert_eq!(keeper.waits_for(), None);

        let future = OffsetDateTime::now_utc() + Duration::from_secs(300);
        mount.put("..3", files(&certificates_from(future)));
        keeper.look();
        assert_eq!(id(&keeper), first, "not valid yet");

        mount.put("..4", files(&new));
        keeper.look();
        assert_ne!(id(&keeper), first);
    }
}
