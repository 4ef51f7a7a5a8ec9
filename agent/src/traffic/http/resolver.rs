//! Names → addresses, as `resolv.conf` says (resolv.conf(5)): servers, search list, `ndots`.
//!
//! The file is a pod's own, so nothing in it is trusted: it is read without leaving the pod's root,
//! to a bound, and what is no directive of ours is passed over. `/etc/hosts` is not read.

use std::{
    fs::File,
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

use nettoll_core::random::SplitMix64;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use super::{
    super::clock::now_ns,
    dns::{self, Found, Kind},
};

/// Most bytes of a file.
const MAX_FILE: u64 = 64 << 10;
/// Most servers (`MAXNS` of the C library).
const MAX_SERVERS: usize = 3;
/// Most domains of the search list.
const MAX_SEARCH: usize = 32;
/// How long a server is waited for before the next is asked.
const PATIENCE: Duration = Duration::from_millis(600);
const PORT: u16 = 53;
/// Most bytes of an answer.
const MAX_ANSWER: usize = 4096;

/// The servers and rules of one `resolv.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolver {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
}

impl Resolver {
    /// By the `etc/resolv.conf` in a file system whose root this is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn of_root(root: &Path) -> io::Result<Self> {
        let told = |error: io::Error| {
            let text = format!("cannot read etc/resolv.conf in {}: {error}", root.display());
            io::Error::new(error.kind(), text)
        };
        Ok(Self::parse(&read(root, "etc/resolv.conf").map_err(told)?))
    }

    pub(super) fn parse(text: &str) -> Self {
        let (mut servers, mut search, mut ndots) = (Vec::new(), Vec::new(), 1);
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    servers.extend(address.map(|address| SocketAddr::new(address, PORT)));
                }
                // The last one holds.
                Some("search" | "domain") => {
                    search = words.take(MAX_SEARCH).map(str::to_owned).collect();
                }
                Some("options") => {
                    let mut dots =
                        words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    ndots = dots.next_back().map_or(ndots, |dots: usize| dots.min(15));
                }
                _ => {}
            }
        }
        servers.truncate(MAX_SERVERS);
        if servers.is_empty() {
            servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        Self {
            servers,
            search,
            ndots,
        }
    }

    /// Asks these servers, with a search list for names of few dots.
    #[cfg(test)]
    pub(super) fn of_servers(servers: Vec<SocketAddr>, search: &[&str]) -> Self {
        Self {
            servers,
            search: search.iter().map(ToString::to_string).collect(),
            ndots: 5,
        }
    }

    /// The addresses of a name, those of version 4 if it has any.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) fn look_up(&self, name: &str, until: Instant) -> Result<Vec<IpAddr>, String> {
        for candidate in self.candidates(name) {
            for kind in [Kind::V4, Kind::V6] {
                match self.ask(&candidate, kind, until)? {
                    Found::Addresses(found) if found.is_empty() => {}
                    Found::Addresses(found) => return Ok(found),
                    // Not of the other kind either.
                    Found::NoSuchName => break,
                }
            }
        }
        Err(format!("no server knows the name {name}"))
    }

    /// The names that are asked for, in their order.
    fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let dots = name.bytes().filter(|&byte| byte == b'.').count();
        let domains = self
            .search
            .iter()
            .map(|domain| domain.trim_end_matches('.'));
        let mut names: Vec<_> = domains.map(|domain| format!("{name}.{domain}")).collect();
        let place = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(place, name.to_owned());
        names
    }

    /// Asks one server after the other.
    fn ask(&self, name: &str, kind: Kind, until: Instant) -> Result<Found, String> {
        let mut failure = "no time is left".to_owned();
        for &server in &self.servers {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match ask(server, name, kind, left.min(PATIENCE)) {
                Ok(found) => return Ok(found),
                Err(error) => failure = format!("name server {server}: {error}"),
            }
        }
        Err(format!("cannot look up {name}: {failure}"))
    }
}

fn ask(server: SocketAddr, name: &str, kind: Kind, patience: Duration) -> io::Result<Found> {
    let until = Instant::now() + patience;
    let id = SplitMix64::new(now_ns()).next_u64() as u16;
    let question = dns::question(id, name, kind)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "this is no name"))?;
    let any: IpAddr = match server.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    // Connected, so that it hears of a refusal and of nobody else.
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(&question)?;
    let mut answer = [0; MAX_ANSWER];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut answer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            received => received?,
        };
        // What is not the answer to this question is passed over.
        if let Some(found) = answer
            .get(..length)
            .and_then(|it| dns::answer(it, id, kind))
        {
            return found.map_err(|code| io::Error::other(format!("it answers code {code}")));
        }
    }
}

/// Reads a file below a root that somebody else fills: no link in it leads out of there, and no
/// pipe holds the reader up.
fn read(root: &Path, path: &str) -> io::Result<String> {
    let folder = openat(
        CWD,
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let file: File = openat2(
        folder,
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?
    .into();
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod checks {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    const CLUSTER: &str = "# of kubelet\nnameserver 198.19.128.10\nnameserver 2001:2::53\n\
        search shop.svc.cluster.local svc.cluster.local. cluster.local\n\
        options ndots:5 timeout:1\nsortlist x\nnameserver no\n";

    #[test]
    fn the_search_list_comes_first_for_names_with_few_dots() {
        let resolver = Resolver::parse(CLUSTER);
        let servers: Vec<_> = resolver.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["198.19.128.10:53", "[2001:2::53]:53"]);
        assert_eq!(
            resolver.candidates("db.data.svc"),
            [
                "db.data.svc.shop.svc.cluster.local",
                "db.data.svc.svc.cluster.local",
                "db.data.svc.cluster.local",
                "db.data.svc"
            ]
        );
        assert_eq!(resolver.candidates("a.b.c.d.e.f")[0], "a.b.c.d.e.f");
        assert_eq!(resolver.candidates("a.b."), ["a.b"]);
        let empty = Resolver::parse("");
        assert_eq!(empty.servers, [(Ipv4Addr::LOCALHOST, 53).into()]);
        assert_eq!(empty.candidates("a"), ["a"]);
    }

    #[test]
    fn no_link_leads_out_of_the_pod() {
        let folder = tempfile::tempdir().unwrap();
        let (pod, secret) = (folder.path().join("pod"), folder.path().join("secret"));
        fs::create_dir_all(pod.join("etc")).unwrap();
        fs::write(&secret, "nameserver 198.18.0.1").unwrap();
        let file = pod.join("etc/resolv.conf");
        assert!(Resolver::of_root(&pod).is_err());
        for link in [&*secret, Path::new("../../secret")] {
            symlink(link, &file).unwrap();
            assert!(Resolver::of_root(&pod).is_err(), "{}", link.display());
            fs::remove_file(&file).unwrap();
        }
        // Such a link is of the pod's own root.
        fs::write(pod.join("real"), CLUSTER).unwrap();
        symlink("/real", &file).unwrap();
        assert_eq!(Resolver::of_root(&pod).unwrap(), Resolver::parse(CLUSTER));
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(Resolver::of_root(&pod).is_err());
    }
}
