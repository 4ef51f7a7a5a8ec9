//! A real Prometheus beside the API server, and a client for the few pages that tests ask.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nettoll_lab::netns;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{NAMESPACE, NETNS, eventually, kit};
use crate::agent::{receive, send};

/// Of Prometheus; the next one is of one with native histograms.
const PORT: u16 = 9090;
/// Of the forwarded API.
const FORWARDED: u16 = 19472;
/// For a program to listen.
const LISTENS: Duration = Duration::from_secs(20);
/// For the mesh to have had some rounds.
const ROUNDS: Duration = Duration::from_secs(100);
/// For one answer.
const ANSWER: Duration = Duration::from_secs(60);

/// A program in the API server's network namespace; it goes with this.
struct Program(Child);

impl Program {
    fn start(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(kit()?);
        command.args(arguments).stdin(Stdio::null());
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(quiet.spawn().context("cannot start the kit")?))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks on the loopback of the API server's network namespace.
fn ask(port: u16, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = netns::within(NETNS, || TcpStream::connect(address))??;
    stream.set_read_timeout(Some(ANSWER))?;
    send(&mut stream, method, path, body)?;
    receive(stream)
}

/// Which histograms Prometheus asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Histograms {
    /// In OpenMetrics text.
    Classic,
    /// In protobuf.
    Native,
}

/// Prometheus, scraping.
pub struct Prometheus {
    port: u16,
    _program: Program,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts Debian's own, with these targets: address and port. One of each kind may run.
    ///
    /// # Errors
    /// Where it is not installed, or does not listen.
    pub fn start(targets: &[String], histograms: Histograms) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        // JSON is YAML.
        let config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
            "scrape_configs": [
                { "job_name": "nettoll", "static_configs": [{ "targets": targets }] },
            ],
        });
        fs::write(path("prometheus.yml"), config.to_string())?;
        let (port, features) = match histograms {
            Histograms::Classic => (PORT, ""),
            Histograms::Native => (PORT + 1, "native-histograms"),
        };
        let options = [
            format!("--config.file={}", path("prometheus.yml")),
            format!("--storage.tsdb.path={}", path("data")),
            format!("--web.listen-address=127.0.0.1:{port}"),
            format!("--enable-feature={features}"),
        ];
        let mut arguments = vec!["exec", "cp", "prometheus"];
        arguments.extend(options.iter().map(String::as_str));
        let program = Program::start(&arguments)?;
        eventually(LISTENS, || {
            let (status, _) = ask(port, "GET", "/-/ready", "")
                .context("is Prometheus installed? 'apt-get install prometheus'")?;
            ensure!(status == 200, "Prometheus is not ready: {status}");
            Ok(())
        })?;
        Ok(Self {
            port,
            _program: program,
            _folder: folder,
        })
    }

    /// The vector that a query gives: labels and values.
    ///
    /// # Errors
    /// Where Prometheus does not take it.
    pub fn query(&self, query: &str) -> Result<Vec<(Value, f64)>> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/v1/query?query={encoded}");
        let (status, body) = ask(self.port, "GET", &path, "")?;
        ensure!(status == 200, "{query}: {status} {body}");
        // A long answer comes in chunks, whose sizes are on lines of their own.
        let json = body.lines().filter(|line| line.starts_with('{'));
        let json: String = json.collect();
        let answer: Value = serde_json::from_str(&json).with_context(|| body.clone())?;
        let vector = answer["data"]["result"].as_array().context("no vector")?;
        vector
            .iter()
            .map(|one| {
                let value = one["value"][1].as_str().context("no value")?;
                Ok((one["metric"].clone(), value.parse()?))
            })
            .collect()
    }

    /// Waits until a query gives something.
    ///
    /// # Errors
    /// Where it gives nothing in time.
    pub fn answers(&self, query: &str) -> Result<Vec<(Value, f64)>> {
        eventually(ROUNDS, || {
            let vector = self.query(query)?;
            ensure!(!vector.is_empty(), "{query}: nothing");
            Ok(vector)
        })
    }
}

/// The leader's API through a forwarded port, as a user reaches it.
pub struct Forwarded(#[expect(dead_code, reason = "it ends with this")] Program);

impl Forwarded {
    /// Forwards the port of this controller's pod.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub fn to(pod: &str) -> Result<Self> {
        let (pod, ports) = (format!("pod/{pod}"), format!("{FORWARDED}:9472"));
        let arguments = ["kubectl", "port-forward", "-n", NAMESPACE, &pod, &ports];
        let forwarded = Self(Program::start(&arguments)?);
        eventually(LISTENS, || {
            let (status, body) = forwarded.ask("GET", "/api/v1/inventory", "")?;
            ensure!(status == 200, "{status} {body}");
            Ok(())
        })?;
        Ok(forwarded)
    }

    /// Asks.
    ///
    /// # Errors
    /// Where there is no answer.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        ask(FORWARDED, method, path, body)
    }
}
