//! The URLs that tests on demand go to.

use std::{fmt, str::FromStr};

/// Longest URL.
const MAX_BYTES: usize = 500;

/// An `http://` or `https://` URL, without user and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    /// It is `https://`.
    pub tls: bool,
    /// A name, or an address without brackets.
    pub host: String,
    /// Its port, or the scheme's.
    pub port: u16,
    /// Path and query, with the first slash.
    pub path: String,
}

/// A text that is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no URL of the form http[s]://HOST[:PORT][/PATH][?QUERY]")]
pub struct UrlError;

impl FromStr for HttpUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        // What is printed and is no '#': nothing of it can end a line of a request.
        let printed = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if text.len() > MAX_BYTES || !text.bytes().all(printed) {
            return Err(UrlError);
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(UrlError),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(UrlError)?;
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, port) = bracketed.split_once(']').ok_or(UrlError)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError)?;
                (host, port)
            }
            None => {
                let end = authority.find(':').unwrap_or(authority.len());
                authority.split_at_checked(end).ok_or(UrlError)?
            }
        };
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || host.len() > 253 || !host.bytes().all(named) {
            return Err(UrlError);
        }
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| UrlError)?,
            None if port.is_empty() => default_port(tls),
            None => return Err(UrlError),
        };
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            path: format!("{slash}{path}"),
        })
    }
}

impl HttpUrl {
    /// Host and port, as in the header `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.clone(),
        };
        match *port == default_port(self.tls) {
            true => host,
            false => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, shown, port) in [
            ("http://a", "http://a/", 80),
            ("https://a.b-c/d?e=f:g@h", "https://a.b-c/d?e=f:g@h", 443),
            ("https://a:443?x", "https://a/?x", 443),
            ("http://198.18.0.1:8080/", "http://198.18.0.1:8080/", 8080),
            (
                "https://[2001:2::1]:6443/x",
                "https://[2001:2::1]:6443/x",
                6443,
            ),
        ] {
            let url: HttpUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.port), (shown, port));
        }
    }

    #[test]
    fn what_is_no_url_or_more_than_one_is_refused() {
        let long = format!("http://a/{}", "x".repeat(MAX_BYTES));
        for text in [
            "",
            "http://",
            "ftp://a/",
            "HTTP://a/",
            "http:/a",
            "http://user@a/",
            "http://a:b@c/",
            "http://a:/",
            "http://a:65536/",
            "http://a b/",
            "http://a/ HTTP/1.1\r\nX: y",
            "http://a/#x",
            "http://[::1",
            "http://[a]/",
            "http://[::1]x/",
            "http://ä/",
            &long,
        ] {
            assert_eq!(text.parse::<HttpUrl>(), Err(UrlError), "{text}");
        }
    }
}
