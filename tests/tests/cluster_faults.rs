//! What breaks while tests run. Nothing hangs, nothing is invented, and everything is back
//! without a hand.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nettoll_core::api::{AGENT_TLS_NAME, CONTROLLER_TLS_NAME};
use nettoll_tests::cluster::{
    NAMESPACE, Space,
    agent::NodeAgent,
    authority::{Authority, Life, secret},
    configuration::Configured,
    eventually,
    fault::{CutLink, Drained, ForeignSecret, OtherVersion, StoppedApi, kill},
    is_ready, kubectl,
    leader::{leader, members, metrics, sum, value},
    on, pair, pods,
    process::Process,
    prometheus::Forwarded,
    ready, sync,
};
use serde_json::json;

/// For everything to be back after a fault is over.
const BACK: Duration = Duration::from_secs(30);
/// For an answer, whatever happens: a test, its second chance, a new leader.
const PATIENCE: Duration = Duration::from_secs(90);
/// For a short test without a fault.
const PROMPT: Duration = Duration::from_secs(15);
/// An agent has looked at its files by then.
const LOOK: Duration = Duration::from_secs(3);

/// Asks for a test of so many seconds.
fn ask(space: &Space, seconds: u32, run: &str) -> Result<()> {
    space.annotate(
        "one",
        &json!({
            "nettoll.dev/pair": format!("pod/{}/two", space.name()),
            "nettoll.dev/tests": "tcp_rr",
            "nettoll.dev/seconds": seconds.to_string(),
            "nettoll.dev/run": run,
        }),
    )
}

/// Waits until the request runs, and a little longer.
fn runs(space: &Space) -> Result<()> {
    eventually(PROMPT, || {
        let pod = space.pod("one")?;
        let status = pod.annotation("nettoll.dev/status");
        ensure!(status == Some("running"), "{status:?}");
        Ok(())
    })?;
    sleep(Duration::from_secs(1));
    Ok(())
}

/// Waits for the answer to what was asked, and says how it ended.
fn ends(space: &Space) -> Result<String> {
    let begin = Instant::now();
    let (status, _) = space.answered("one", PATIENCE)?;
    let events = space.events("one")?;
    println!("{status} after {:?}: {events:?}", begin.elapsed());
    let word = match &*status {
        "done" => "NettollDone: ",
        _ => "NettollFailed: ",
    };
    // The Event comes right after the annotation.
    eventually(PROMPT, || {
        let told = space.events("one")?;
        ensure!(told.iter().any(|event| event.starts_with(word)), "{told:?}");
        Ok(())
    })?;
    Ok(status)
}

/// In time after a fault all pods are ready, one controller leads, and both agents answer it.
fn back(over: Instant) -> Result<()> {
    eventually(BACK.saturating_sub(over.elapsed()), || {
        is_ready()?;
        ensure!(members("answers")? == 2.0, "an agent does not answer");
        Ok(())
    })?;
    println!("everything is back after {:?}", over.elapsed());
    Ok(())
}

/// A new request is answered well, in time.
fn works_again(space: &Space, run: &str) -> Result<()> {
    let before = space.pod("one")?;
    let before = before.annotation("nettoll.dev/observed");
    let begin = Instant::now();
    ask(space, 1, run)?;
    eventually(PROMPT, || {
        let (status, pod) = space.answered("one", Duration::ZERO)?;
        let observed = pod.annotation("nettoll.dev/observed");
        ensure!(observed != before, "not taken up");
        ensure!(status == "done", "{status}: {:?}", space.events("one")?);
        Ok(())
    })?;
    println!("works again after {:?}", begin.elapsed());
    Ok(())
}

#[test]
fn an_agent_is_killed_in_a_run() -> Result<()> {
    let (space, _) = pair("nettoll-fault-agent")?;
    ask(&space, 4, "first")?;
    runs(&space)?;
    let agent = on("agent", "n2")?;
    kill(&Process::of(&agent.uid, "nettoll-agent")?)?;
    let over = Instant::now();
    eventually(BACK, || {
        let restarts = on("agent", "n2")?.restarts();
        ensure!(restarts > agent.restarts(), "not restarted yet");
        Ok(())
    })?;
    back(over)?;
    ends(&space)?;
    works_again(&space, "second")
}

#[test]
fn an_agent_is_of_another_version() -> Result<()> {
    let (space, _) = pair("nettoll-fault-version")?;
    let other = OtherVersion::on("n2")?;
    // The mesh does without it, and a run with it is refused in words.
    eventually(BACK, || {
        ensure!(members("silent")? == 1.0, "nobody is silent");
        Ok(())
    })?;
    let job = json!({ "test": {
        "from": "node/n1",
        "to": "node/n2",
        "network": null,
        "test": "tcp_rr",
        "options": {
            "seconds": 1.0,
            "rounds": 10,
            "warmup_ms": 20,
            "message_bytes": 131_072,
            "request_bytes": 64,
            "response_bytes": 64,
            "sample_hz": 0,
        },
        "against": null,
        "probe": "off",
    }});
    let api = Forwarded::to(&leader()?.name)?;
    let (status, events) = api.ask("POST", "/api/v1/jobs", &job.to_string())?;
    ensure!(status == 200, "{status} {events}");
    let refused = format!("it is {}, which", OtherVersion::NAME);
    for words in ["\"failed\"", "node n2", &refused] {
        ensure!(events.contains(words), "{words}: {events}");
    }
    // A request is tried again until the update is over.
    ask(&space, 1, "first")?;
    runs(&space)?;
    drop(other);
    back(Instant::now())?;
    assert_eq!(ends(&space)?, "done");
    works_again(&space, "second")
}

#[test]
fn a_certificate_begins_in_five_minutes() -> Result<()> {
    let (space, _) = pair("nettoll-fault-clock")?;
    let authority = Authority::of_cluster()?;
    let controller = authority.sign(CONTROLLER_TLS_NAME, Life::Now)?;
    let early = authority.sign(AGENT_TLS_NAME, Life::Later)?;
    let agent = on("agent", "n1")?;
    let process = Process::of(&agent.uid, "nettoll-agent")?;

    let foreign = ForeignSecret::with(&early)?;
    sync(&agent)?;
    eventually(BACK, || {
        let file = fs::read_to_string(process.file("/etc/nettoll/tls/tls.crt"))?;
        ensure!(file == early.certificate_pem, "the Secret is not there yet");
        Ok(())
    })?;
    sleep(LOOK);
    // The agent goes on with the one that it has.
    let node_agent = NodeAgent::of(&agent, &authority)?;
    assert_ne!(node_agent.shows(&controller)?, early.certificate);
    // One that begins anew has no other, and says so. What is asked of it waits.
    kill(&process)?;
    eventually(BACK, || {
        let (status, body) = node_agent.page("/readyz")?;
        ensure!(
            status == 503 && body.contains("not valid yet"),
            "{status} {body}"
        );
        ensure!(is_ready().is_err(), "its pod is still ready");
        Ok(())
    })?;
    ask(&space, 1, "first")?;

    // The controller may look after its Secret again, and puts the clock's fault right.
    drop(foreign);
    let over = Instant::now();
    eventually(BACK, || {
        let now = secret("nettoll-agent-tls", "tls.crt")?;
        ensure!(now != early.certificate_pem, "still the early one");
        sync(&agent)
    })?;
    back(over)?;
    assert_eq!(ends(&space)?, "done");
    works_again(&space, "second")
}

#[test]
fn the_leader_is_killed_in_a_run() -> Result<()> {
    let (space, _) = pair("nettoll-fault-leader")?;
    ask(&space, 4, "first")?;
    runs(&space)?;
    kill(&Process::of(&leader()?.uid, "nettoll-control")?)?;
    back(Instant::now())?;
    assert_eq!(ends(&space)?, "done", "the next leader takes it up");
    works_again(&space, "second")
}

#[test]
fn the_leader_is_asked_to_go_in_a_run() -> Result<()> {
    let (space, _) = pair("nettoll-fault-change")?;
    ask(&space, 4, "first")?;
    runs(&space)?;
    let old = leader()?.name;
    kubectl(&["delete", "pod", "-n", NAMESPACE, &old, "--wait=false"])?;
    let over = Instant::now();
    // It gives the lease back, so the next one need not wait for it to expire.
    eventually(Duration::from_secs(12), || {
        ensure!(leader()?.name != old, "the old one leads");
        Ok(())
    })?;
    back(over)?;
    assert_eq!(ends(&space)?, "done");
    works_again(&space, "second")
}

/// No controller at all, until this is dropped.
struct NoControllers;

impl NoControllers {
    fn scaled() -> Result<Self> {
        let this = Self;
        scale("0")?;
        Ok(this)
    }
}

impl Drop for NoControllers {
    fn drop(&mut self) {
        if let Err(error) = scale("2") {
            eprintln!("there is no controller any more: {error:#}");
        }
    }
}

/// How many controllers there are to be.
fn scale(replicas: &str) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    let what = "deployment/nettoll-controller";
    kubectl(&["scale", "-n", NAMESPACE, what, &replicas])?;
    Ok(())
}

/// The mesh's short day: a light round of each edge every 3 s, and every 10 s a stream of each
/// pair, with budgets that let it begin.
const SHORT_DAY: &str = "[mesh]\nperiod_ms = 3000\nidle_seconds = 20\nnode_cpu_permille = 100\n\
                         stream_seconds = 1\nstream_period_seconds = 10\n\
                         stream_node_bits_per_second = 1000000000000\n\
                         stream_cluster_bits_per_second = 1000000000000\n";

/// What an agent has done so far.
#[derive(Debug)]
struct Told {
    /// Edges of its plan.
    edges: f64,
    /// Light rounds that were made.
    rounds: f64,
    /// Runs, which is what heavy tests are made of.
    runs: f64,
}

impl Told {
    fn by(agent: &NodeAgent) -> Result<Self> {
        let page = agent.page("/metrics")?.1;
        let made = ["outcome=\"made\""];
        Ok(Self {
            edges: value(&page, "nettoll_agent_light_edges", &[])?,
            rounds: value(&page, "nettoll_agent_light_rounds_total", &made)?,
            runs: value(&page, "nettoll_agent_runs_total", &[])?,
        })
    }
}

/// No controller at all. Rounds of the last plan go on for its time and no heavy test begins, then
/// the rounds end, and the next controllers begin anew.
#[test]
fn all_controllers_are_gone_for_a_while() -> Result<()> {
    ready()?;
    let idle = Duration::from_secs(20);
    let _configured = Configured::with(SHORT_DAY)?;
    let authority = Authority::of_cluster()?;
    let agent = NodeAgent::of(&on("agent", "n1")?, &authority)?;
    let told = || Told::by(&agent);
    // The agent has the plan with the short time, by which a round comes every 1.5 s. By the usual
    // plan there are at most two of each edge in this time, one of them because it is new.
    eventually(BACK, || {
        let before = told()?.rounds;
        sleep(Duration::from_secs(9));
        let made = told()?.rounds - before;
        ensure!(made >= 5.0, "{made} rounds in 9 s");
        Ok(())
    })?;
    // A controller that is there has streams run, again and again.
    let first = told()?.runs;
    eventually(PATIENCE, || {
        let runs = told()?.runs - first;
        ensure!(runs >= 4.0, "{runs} runs, and a stream is two");
        Ok(())
    })?;

    let processes: Vec<_> = pods("controller")?
        .iter()
        .map(|pod| Process::of(&pod.uid, "nettoll-control"))
        .collect::<Result<_>>()?;
    let away = NoControllers::scaled()?;
    eventually(PROMPT, || {
        let lives = processes.iter().any(Process::lives);
        ensure!(!lives, "a controller is still there");
        Ok(())
    })?;
    let (gone, before) = (Instant::now(), told()?);
    assert_eq!(before.edges, 2.0);
    eventually(idle / 4, || {
        let now = told()?;
        let on = now.edges == 2.0 && now.rounds > before.rounds;
        ensure!(on, "{before:?}, then {now:?}");
        Ok(())
    })?;
    let after = eventually(idle, || {
        let now = told()?;
        ensure!(now.edges == 0.0, "the plan goes on");
        Ok(now)
    })?;
    println!("the plan ended after {:?}", gone.elapsed());
    // The time of each pair's stream has come since.
    assert_eq!(after.runs, before.runs, "a run without a controller");

    drop(away);
    let begin = Instant::now();
    back(begin)?;
    eventually(BACK.saturating_sub(begin.elapsed()), || {
        ensure!(told()?.edges == 2.0, "no plan");
        Ok(())
    })
}

/// Agents do not go on with the last plan for its time when nobody wants it any more.
#[test]
fn the_mesh_is_switched_off_and_on() -> Result<()> {
    ready()?;
    let authority = Authority::of_cluster()?;
    let of = |node| NodeAgent::of(&on("agent", node)?, &authority);
    let agents = [of("n1")?, of("n2")?];
    let have = |wanted: f64| {
        let begin = Instant::now();
        eventually(BACK, || {
            for agent in &agents {
                let edges = value(&agent.page("/metrics")?.1, "nettoll_agent_light_edges", &[])?;
                ensure!(edges == wanted, "{edges} edges");
            }
            Ok(())
        })?;
        println!("{wanted} edges after {:?}", begin.elapsed());
        Ok(())
    };
    have(2.0)?;
    let configured = Configured::with("[mesh]\nenabled = false\n")?;
    have(0.0)?;
    drop(configured);
    have(2.0)
}

#[test]
fn the_api_server_is_away_for_half_a_minute() -> Result<()> {
    let (space, _) = pair("nettoll-fault-api")?;
    ask(&space, 3, "first")?;
    runs(&space)?;
    let stopped = StoppedApi::new()?;
    sleep(Duration::from_secs(30));
    drop(stopped);
    back(Instant::now())?;
    ends(&space)?;
    works_again(&space, "second")
}

#[test]
fn the_link_between_the_nodes_is_cut_and_mended() -> Result<()> {
    let (space, _) = pair("nettoll-fault-link")?;
    ask(&space, 4, "first")?;
    runs(&space)?;
    let cut = CutLink::new("n2")?;
    sleep(Duration::from_secs(10));
    drop(cut);
    back(Instant::now())?;
    ends(&space)?;
    works_again(&space, "second")
}

#[test]
fn the_other_pod_is_deleted_halfway() -> Result<()> {
    let (space, _) = pair("nettoll-fault-pod")?;
    ask(&space, 4, "first")?;
    runs(&space)?;
    kubectl(&["delete", "pod", "-n", space.name(), "two", "--wait=false"])?;
    let begin = Instant::now();
    assert_eq!(ends(&space)?, "failed");
    assert!(begin.elapsed() < PROMPT, "{:?}", begin.elapsed());
    let events = space.events("one")?.join("\n");
    assert!(
        events.contains("pod/nettoll-fault-pod/two was deleted"),
        "{events}"
    );
    eventually(PATIENCE, || {
        ensure!(space.pod("two").is_err(), "two is still there");
        Ok(())
    })?;
    space.start("two", "n2")?;
    space.ready("two")?;
    works_again(&space, "second")
}

/// The other pod goes, and a controller may go with it.
#[test]
fn a_node_is_drained_in_a_run() -> Result<()> {
    let (space, _) = pair("nettoll-fault-drain")?;
    // Far longer than the drain takes to reach the pod.
    ask(&space, 30, "first")?;
    runs(&space)?;
    let drained = Drained::new("n2")?;
    ensure!(space.pod("two").is_err(), "two is still there");
    assert_eq!(ends(&space)?, "failed");
    let events = space.events("one")?.join("\n");
    assert!(events.contains("pod/nettoll-fault-drain/two"), "{events}");
    // The agents stay, and so does the mesh between the nodes: the leader, who may be a new one that counts
    // from 0, hears of rounds.
    let requests = || {
        let made = sum(&metrics()?, "nettoll_requests_total", &["from_node=\"n2\""])?;
        ensure!(made > 0.0, "the leader has heard of no round");
        Ok(made)
    };
    let mut before = eventually(BACK, requests)?;
    eventually(PATIENCE, || {
        ensure!(members("answers")? == 2.0, "an agent does not answer");
        let made = requests()?;
        let known = std::mem::replace(&mut before, made);
        ensure!(
            made > known,
            "the drained node's rounds: {made} after {known}"
        );
        Ok(())
    })?;
    drop(drained);
    back(Instant::now())?;
    space.start("two", "n2")?;
    space.ready("two")?;
    works_again(&space, "second")
}

#[test]
fn the_asking_pod_is_deleted_halfway() -> Result<()> {
    let (space, _) = pair("nettoll-fault-asker")?;
    ask(&space, 4, "first")?;
    runs(&space)?;
    kubectl(&["delete", "pod", "-n", space.name(), "one", "--wait=false"])?;
    eventually(PROMPT, || {
        let told = space.events("one")?;
        let gone = told.iter().any(|event| event.contains("was deleted"));
        ensure!(gone, "{told:?}");
        Ok(())
    })?;
    eventually(PATIENCE, || {
        ensure!(space.pod("one").is_err(), "one is still there");
        Ok(())
    })?;
    // A pod of the same name is another pod: nothing of the old one is told to it.
    space.start("one", "n1")?;
    let one = space.ready("one")?;
    assert_eq!(one.annotation("nettoll.dev/status"), None);
    works_again(&space, "second")
}
