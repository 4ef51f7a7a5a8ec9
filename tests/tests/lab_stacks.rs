//! Sampled stacks in all their forms tell of the same samples.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;
use nettoll_lab::{Network, Underlay, files, netns, plan};
use nettoll_tests::session::Session;
use prost::Message;

/// The part of pprof's `profile.proto` that is looked at.
#[derive(Message)]
struct Profile {
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(string, repeated, tag = "6")]
    texts: Vec<String>,
}

#[derive(Message)]
struct Sample {
    #[prost(int64, repeated, tag = "2")]
    values: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    labels: Vec<Label>,
}

#[derive(Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

impl Profile {
    fn read(file: &[u8]) -> Result<Self> {
        let mut bytes = Vec::new();
        GzDecoder::new(file).read_to_end(&mut bytes)?;
        Ok(Self::decode(&*bytes)?)
    }

    /// Samples by what they have at a label.
    fn by(&self, key: &str) -> BTreeMap<&str, i64> {
        let text = |number: i64| self.texts.get(number as usize).map_or("", String::as_str);
        let mut sums = BTreeMap::new();
        for sample in &self.samples {
            let label = sample.labels.iter().find(|label| text(label.key) == key);
            let value = label.map_or("", |label| text(label.text));
            *sums.entry(value).or_default() += sample.values.first().copied().unwrap_or_default();
        }
        sums
    }
}

fn get(mut stream: impl Read + Write, page: &str) -> Result<Vec<u8>> {
    write!(
        stream,
        "GET {page} HTTP/1.1\r\nhost: nettoll\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n");
    let body = answer.split_off(end.context("no end of the head")? + 4);
    ensure!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{page}: {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(body)
}

fn of_agent(agent: SocketAddr, page: &str) -> Result<Vec<u8>> {
    let connect = || TcpStream::connect(agent);
    get(
        netns::within(&plan::netns(plan::CONTROLLER), connect)??,
        page,
    )
}

fn of_controller(page: &str) -> Result<Vec<u8>> {
    get(UnixStream::connect(files::CONTROLLER_SOCKET)?, page)
}

/// The samples of folded stacks.
fn sum(folded: &[u8]) -> Result<i64> {
    let folded = str::from_utf8(folded)?;
    let counts = folded.lines().map(|line| {
        Ok(line
            .rsplit_once(' ')
            .context("no count")?
            .1
            .parse::<i64>()?)
    });
    counts.sum()
}

#[test]
fn all_forms_have_the_same_samples() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let agent = session.lab.plan().nodes.first().context("no node")?;
    let agent = agent.metrics();
    let flame = ["flame", "--from", "pod/lab/n1-a", "--to", "pod/lab/n2-a"];
    let flame = |more: &[&str]| -> Result<Vec<u8>> {
        let output = session.nettoll(&[&flame[..], &["--seconds", "2"], more].concat())?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output.stdout)
    };
    let first = Profile::read(&flame(&["-o", "pprof"])?)?;
    let run = first.by("run");
    let (run, samples) = run.first_key_value().context("no samples")?;
    ensure!(*samples > 1_000, "{samples} samples in two seconds");
    for (key, value) in [
        ("path", "pod-to-pod"),
        ("network", "vxlan"),
        ("test", "tcp_stream"),
    ] {
        ensure!(first.by(key).keys().eq([&value]), "{:?}", first.by(key));
    }
    let components = first.by("component");
    ensure!(components.contains_key("encap"), "{components:?}");

    let folded = session.nettoll(&["flame", "--run", run, "-o", "folded"])?;
    ensure!(sum(&folded.stdout)? == *samples, "folded, of one run");
    let page = "/stacks?path=pod-to-pod&network=vxlan&test=tcp_stream&format=folded";
    for (who, folded) in [
        ("agent", of_agent(agent, page)?),
        ("controller", of_controller(page)?),
    ] {
        ensure!(sum(&folded)? == *samples, "folded, of the {who}");
    }
    // The command has the threads' names, the pages have none.
    let names = first.by("thread");
    ensure!(names.len() > 2, "{names:?}");
    let page_of_profile = "/stacks?path=pod-to-pod&network=vxlan&test=tcp_stream";
    for page in [
        of_agent(agent, page_of_profile)?,
        of_controller(page_of_profile)?,
    ] {
        let profile = Profile::read(&page)?;
        ensure!(profile.by("component") == components, "components differ");
        ensure!(profile.by("thread").keys().eq([&""]), "a thread is named");
    }

    // Who waits gets what came meanwhile.
    let waiting = thread::spawn(move || of_agent(agent, &format!("{page}&seconds=30")));
    thread::sleep(Duration::from_secs(1));
    let second = Profile::read(&flame(&["-o", "pprof"])?)?;
    let second: i64 = second.by("path").values().sum();
    let meanwhile = waiting.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    ensure!(sum(&meanwhile)? == second, "of the second run alone");
    ensure!(
        sum(&of_agent(agent, page)?)? == samples + second,
        "of both runs"
    );
    Ok(())
}
