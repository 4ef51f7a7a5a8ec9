//! Two network namespaces, a veth pair between them, a vxlan device on top, and traffic over
//! that. Everything is gone when the bed is dropped.

use std::{
    fs, process,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// `$A` and `$B` are the namespaces.
const UP: &str = "
set -e
ip netns add $A
ip netns add $B
ip link add t-profile netns $A type veth peer name t-profile netns $B
side() {
    ip -n $1 addr add 198.18.66.$2/24 dev t-profile
    ip -n $1 link set t-profile up
    ip -n $1 link add t-profile-x type vxlan id 66 dstport 8472 \
        local 198.18.66.$2 remote 198.18.66.$3 dev t-profile
    ip -n $1 addr add 198.18.67.$2/24 dev t-profile-x
    ip -n $1 link set t-profile-x up
}
side $A 1 2
side $B 2 1";
const SERVER: &str = "exec ip netns exec $B iperf3 --server --one-off";
const CLIENT: &str = "exec ip netns exec $A iperf3 --client 198.18.67.2 --length 128K --time $SECONDS_ --affinity 0,1";
const DOWN: &str = "ip netns del $A; ip netns del $B";

pub(super) struct Bed {
    children: Vec<Child>,
}

impl Bed {
    /// With a stream that is under way and lasts `seconds`.
    pub(super) fn with_stream(seconds: u32) -> Self {
        let mut bed = Self {
            children: Vec::new(),
        };
        assert!(shell(UP).status().unwrap().success());
        bed.children.push(shell(SERVER).spawn().unwrap());
        // Until the server listens, the client is refused.
        let deadline = Instant::now() + Duration::from_secs(5);
        while bed.received_bytes() < 1_000_000 {
            assert!(Instant::now() < deadline, "iperf3 sends nothing");
            if bed.children.len() == 1 || bed.children[1].try_wait().unwrap().is_some() {
                bed.children.truncate(1);
                let client = shell(CLIENT).env("SECONDS_", seconds.to_string()).spawn();
                bed.children.push(client.unwrap());
            }
            thread::sleep(Duration::from_millis(50));
        }
        bed
    }

    /// Over the tunnel, by the receiver's device.
    pub(super) fn received_bytes(&self) -> u64 {
        let devices = fs::read_to_string(format!("/proc/{}/net/dev", self.children[0].id()));
        let devices = devices.unwrap();
        let tunnel = devices
            .lines()
            .find_map(|line| line.trim().strip_prefix("t-profile-x:"));
        // The server's process enters its namespace only after it began.
        tunnel.map_or(0, |counters| {
            counters.split_whitespace().next().unwrap().parse().unwrap()
        })
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ended = child.kill().and_then(|()| child.wait());
        }
        let _gone = shell(DOWN).status();
    }
}

fn shell(script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script])
        .env("A", name("a"))
        .env("B", name("b"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    shell
}

fn name(side: &str) -> String {
    format!("t-profile-{}-{side}", process::id())
}
