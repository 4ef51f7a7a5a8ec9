//! Where a controller of this machine listens.

use std::{net::IpAddr, path::PathBuf, str::FromStr};

/// Where a controller listens, as users write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `http://127.0.0.1:PORT`: loopback only, there is no encryption on it.
    Http {
        /// Address or `localhost`.
        host: String,
        /// Port.
        port: u16,
    },
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "'{text}' is no controller; write unix:PATH or http://127.0.0.1:PORT, or name a \
                 cluster with --context"
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(bad())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let rest = text
            .strip_prefix("http://")
            .ok_or_else(bad)?
            .trim_end_matches('/');
        let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare == "localhost"
            || bare
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        match port.parse() {
            Ok(port) if loopback => Ok(Self::Http {
                host: bare.to_owned(),
                port,
            }),
            _ => Err(bad()),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http { host, port } => write!(f, "http://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        assert_eq!("unix:/run/x".parse(), Ok(Address::Unix("/run/x".into())));
        let http = |host: &str, port| {
            Ok(Address::Http {
                host: host.to_owned(),
                port,
            })
        };
        assert_eq!("http://127.0.0.1:9472".parse(), http("127.0.0.1", 9472));
        assert_eq!("http://localhost:9472/".parse(), http("localhost", 9472));
        assert_eq!("http://[::1]:1".parse(), http("::1", 1));
    }

    #[test]
    fn what_is_no_loopback_address_is_refused() {
        for text in [
            "",
            "unix:",
            "/run/x",
            "http://127.0.0.1",
            "http://198.18.0.1:80",
            "https://[::1]:1",
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(
                error.contains("unix:PATH or http://127.0.0.1:PORT"),
                "{error}"
            );
        }
    }
}
