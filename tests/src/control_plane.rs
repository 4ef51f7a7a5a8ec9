//! An API server with its etcd and nothing else: no node, no pod ever runs. For tests of what a
//! controller says to it. The programs come from the folder that `KUBEBUILDER_ASSETS` names.

use std::{
    env,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{binary, output_of};

/// Names the folder with `etcd`, `kube-apiserver` and `kubectl`.
pub const ASSETS: &str = "KUBEBUILDER_ASSETS";
/// Token of the administrator.
pub const ADMIN: &str = "admin-token";
/// Token of the controller's service account.
pub const CONTROLLER: &str = "controller-token";
const USERS: &str = "admin-token,admin,admin,system:masters\n\
    controller-token,system:serviceaccount:nettoll:nettoll-controller,1,\
    \"system:serviceaccounts,system:serviceaccounts:nettoll,system:authenticated\"\n";
/// For the API server to be ready.
const READY: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL: Duration = Duration::from_millis(200);

/// A control plane that ends with this value.
pub struct ControlPlane {
    folder: TempDir,
    port: u16,
    _api: Process,
    _etcd: Process,
}

/// A child that is killed when dropped.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// Where it does not end, or not with success.
    pub fn end(mut self) -> Result<()> {
        let pid = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait()? {
                ensure!(status.success(), "it ended with {status}");
                return Ok(());
            }
            sleep(POLL);
        }
        bail!("it did not end after SIGTERM")
    }
}

impl ControlPlane {
    /// Starts one on free ports of 127.0.0.1.
    ///
    /// # Errors
    /// Without the programs, or where they do not come up.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let place = |name: &str| folder.path().join(name).display().to_string();
        fs::write(place("users.csv"), USERS)?;
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        fs::write(place("accounts.key"), key.serialize_pem())?;
        fs::write(place("accounts.pub"), key.public_key_pem())?;
        let (port, etcd_port) = (free_port()?, free_port()?);
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");
        let log = |name: &str| File::create(place(name));
        let start = |name: &str, arguments: &[&str]| {
            let mut command = Command::new(program(name)?);
            command.args(arguments).stdin(Stdio::null());
            command
                .stdout(log(name)?)
                .stderr(log(&format!("{name}.log"))?);
            let child = command.spawn();
            Ok::<_, anyhow::Error>(Process(
                child.with_context(|| format!("cannot start {name}"))?,
            ))
        };
        let etcd = start(
            "etcd",
            &[
                "--data-dir",
                &place("data"),
                "--listen-client-urls",
                &etcd_url,
                "--advertise-client-urls",
                &etcd_url,
                "--listen-peer-urls",
                "http://127.0.0.1:0",
            ],
        )?;
        let api = start(
            "kube-apiserver",
            &[
                "--etcd-servers",
                &etcd_url,
                "--bind-address",
                "127.0.0.1",
                // It goes into the Service 'kubernetes' and is never connected to.
                "--advertise-address",
                "198.19.255.1",
                "--secure-port",
                &port.to_string(),
                "--cert-dir",
                &place("certificates"),
                "--token-auth-file",
                &place("users.csv"),
                "--authorization-mode",
                "RBAC",
                "--service-account-issuer",
                "https://nettoll.test",
                "--service-account-key-file",
                &place("accounts.pub"),
                "--service-account-signing-key-file",
                &place("accounts.key"),
                "--service-cluster-ip-range",
                "198.19.128.0/17",
                // Nobody makes service accounts here.
                "--disable-admission-plugins",
                "ServiceAccount",
            ],
        )?;
        let plane = Self {
            folder,
            port,
            _api: api,
            _etcd: etcd,
        };
        let ready = wait("the API server", READY, || {
            Ok(plane.kubectl(&["get", "--raw", "/readyz"]).is_ok())
        });
        let log = plane.log("kube-apiserver")?;
        ready.with_context(|| log.lines().last().unwrap_or_default().to_owned())?;
        Ok(plane)
    }

    /// A kubeconfig for the holder of a token.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn kubeconfig(&self, token: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(format!("{token}.kubeconfig"));
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "insecure-skip-tls-verify": true}}],
            "users": [{"name": "u", "user": {"token": token}}],
        });
        // Written once: a controller may be reading it.
        if !path.exists() {
            let new = path.with_extension("new");
            fs::write(&new, config.to_string())?;
            fs::rename(&new, &path)?;
        }
        Ok(path)
    }

    /// Runs kubectl as the administrator.
    ///
    /// # Errors
    /// Where it fails, with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(arguments, "")
    }

    /// Like [`Self::kubectl`], with something on its standard input.
    ///
    /// # Errors
    /// As [`Self::kubectl`].
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(program("kubectl")?);
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig(ADMIN)?)
            .args(arguments)
            .env("HOME", self.folder.path());
        let what = format!("kubectl {}", arguments.join(" "));
        output_of(&mut command, &what, input)
    }

    /// An object.
    ///
    /// # Errors
    /// Where there is none.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json"], arguments].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Starts a controller of this name for the namespace `nettoll`, as the holder of a token,
    /// with its metrics on this port. Its API is on the port after that.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn controller(&self, name: &str, token: &str, port: u16) -> Result<Process> {
        let place = |suffix: &str| self.folder.path().join(format!("{name}.{suffix}"));
        let addresses = format!(
            "listen = \"127.0.0.1:{}\"\nmetrics_listen = \"127.0.0.1:{port}\"\n",
            port + 1
        );
        fs::write(place("addresses"), addresses)?;
        self.configure(name, "")?;
        let child = Command::new(binary("nettoll-controller")?)
            .args(["run", "--kubernetes", "--config"])
            .arg(place("toml"))
            .env("KUBECONFIG", self.kubeconfig(token)?)
            .env("NETTOLL_NAMESPACE", "nettoll")
            .env("NETTOLL_POD", name)
            .stdin(Stdio::null())
            .stderr(File::create(place("log"))?)
            .spawn()
            .context("cannot start nettoll-controller")?;
        Ok(Process(child))
    }

    /// Gives a controller that was started another configuration, beside its addresses.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn configure(&self, name: &str, more: &str) -> Result<()> {
        let place = |suffix: &str| self.folder.path().join(format!("{name}.{suffix}"));
        let addresses = fs::read_to_string(place("addresses"))?;
        fs::write(place("new"), addresses + more)?;
        Ok(fs::rename(place("new"), place("toml"))?)
    }

    /// What a controller of this name logged.
    ///
    /// # Errors
    /// Where there was none.
    pub fn log(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(
            self.folder.path().join(format!("{name}.log")),
        )?)
    }

    /// Who holds the controllers' Lease.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        let lease = self.get(&["-n", "nettoll", "lease", "nettoll-controller"]);
        let holder = lease.ok()?["spec"]["holderIdentity"].as_str()?.to_owned();
        Some(holder)
    }
}

/// Waits until something holds.
///
/// # Errors
/// Where it does not in this time.
pub fn wait(what: &str, most: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + most;
    while !holds()? {
        ensure!(Instant::now() < until, "{what}: not in {most:?}");
        sleep(POLL);
    }
    Ok(())
}

/// A TCP port of 127.0.0.1 that nobody uses, and the one after it.
///
/// # Errors
/// Where there is none.
pub fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind(("127.0.0.1", 0))?;
        let port = first.local_addr()?.port();
        let next = port.checked_add(1);
        if let Some(next) = next
            && TcpListener::bind(("127.0.0.1", next)).is_ok()
        {
            return Ok(port);
        }
    }
    bail!("no two free ports beside each other")
}

/// One of the programs of an API server's folder: `etcd`, `kube-apiserver`, `kubectl`.
///
/// # Errors
/// Where nothing names that folder.
pub fn program(name: &str) -> Result<PathBuf> {
    let folder = env::var_os(ASSETS).with_context(|| {
        format!("{ASSETS} is not set; run 'cargo xtask test --only cluster', or name the folder of etcd, kube-apiserver and kubectl")
    })?;
    Ok(Path::new(&folder).join(name))
}
