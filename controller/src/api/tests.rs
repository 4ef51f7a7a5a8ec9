//! The API over its Unix socket, with agents that nobody answers for.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use nettoll_core::api::NodeSummary;
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
};

use super::*;
use crate::{
    agents::{Fleet, tests::Ca},
    config::Listen,
    directory::Known,
    inventory,
};

/// A controller's API whose agents are all at one address.
struct Fixture {
    folder: tempfile::TempDir,
    server: JoinHandle<()>,
    jobs: Arc<Jobs>,
}

impl Fixture {
    async fn new(agent: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut inventory = inventory::tests::sample();
        inventory
            .nodes
            .iter_mut()
            .for_each(|node| node.agent = agent);
        let agents = Arc::new(Fleet::new(Ca::new().connector()).of(&inventory));
        let known = Arc::new(Known { inventory, agents });
        let jobs = Arc::new(Jobs::new(known, Arc::new(Metrics::new())));
        let socket = folder.path().join("api.sock");
        let listener = Listener::bind(&Listen::Unix(socket)).await.unwrap();
        let served = Arc::new(Api {
            jobs: Arc::clone(&jobs),
            mesh: None,
        });
        let serve = listener.serve(Limits::COMMON, move |request| {
            answer(Arc::clone(&served), request)
        });
        Self {
            folder,
            server: tokio::spawn(serve),
            jobs,
        }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("api.sock")
    }

    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let (sender, driver) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        sender
    }

    /// The answer's head and the connection that holds it open.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> (Response<Incoming>, SendRequest<Full<Bytes>>) {
        let mut sender = self.connect().await;
        let body = Full::new(Bytes::from(body.to_owned()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(body)
            .unwrap();
        (sender.send_request(request).await.unwrap(), sender)
    }

    async fn ask(&self, method: Method, path: &str, body: &str) -> (u16, String) {
        let (response, _sender) = self.send(method, path, body).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

/// An address where connections are accepted and nothing is ever said.
async fn silence() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address where nothing listens.
async fn nobody() -> SocketAddr {
    silence().await.1
}

fn test_job(from: &str) -> String {
    format!(
        r#"{{"test":{{"from":"{from}","to":"node/n2","network":null,"test":"tcp_rr",
        "options":{{"seconds":1,"rounds":10,"warmup_ms":0,"message_bytes":1,"request_bytes":64,
        "response_bytes":64,"sample_hz":0}},"against":null,"probe":"off"}}}}"#
    )
}

async fn next(body: &mut Incoming) -> JobEvent {
    let frame = tokio::time::timeout(Duration::from_secs(5), body.frame())
        .await
        .unwrap();
    let line = frame.unwrap().unwrap().into_data().unwrap();
    assert_eq!(line.last(), Some(&b'\n'));
    serde_json::from_slice(&line).unwrap()
}

#[tokio::test]
async fn what_is_known_is_answered() {
    let api = Fixture::new(nobody().await).await;
    assert_eq!(
        api.ask(Method::GET, "/healthz", "").await,
        (200, "ok\n".into())
    );
    assert_eq!(api.ask(Method::GET, "/readyz", "").await.0, 200);
    let (status, inventory) = api.ask(Method::GET, "/api/v1/inventory", "").await;
    assert_eq!(status, 200);
    let inventory: nettoll_core::api::Inventory = serde_json::from_str(&inventory).unwrap();
    assert_eq!(inventory, api.jobs.known().inventory);
    let (status, metrics) = api.ask(Method::GET, "/api/v1/metrics", "").await;
    assert!(
        status == 200 && metrics.contains("# TYPE process_resident_memory_bytes gauge\n"),
        "{metrics}"
    );
    // A node whose agent is away hides no other.
    let (status, nodes) = api.ask(Method::GET, "/api/v1/nodes", "").await;
    assert_eq!(status, 200);
    let nodes: Vec<NodeSummary> = serde_json::from_str(&nodes).unwrap();
    let names = nodes.iter().map(|node| node.node.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["n1", "n2"]);
    for node in nodes {
        let error = node.error.unwrap();
        assert!(
            node.agent.is_none() && error.contains("agent of node"),
            "{error}"
        );
    }
    for list in ["pairs", "runs"] {
        let list = api.ask(Method::GET, &format!("/api/v1/{list}"), "").await;
        assert_eq!(list, (200, "[]".to_owned()));
    }
    for kept in ["runs/x", "stacks/x"] {
        let (status, error) = api.ask(Method::GET, &format!("/api/v1/{kept}"), "").await;
        assert!(
            status == 404 && error.contains("GET /api/v1/runs"),
            "{error}"
        );
    }
    let (status, unknown) = api.ask(Method::GET, "/api/v2/jobs", "").await;
    assert!(
        status == 404 && unknown.contains("/api/v1/jobs"),
        "{unknown}"
    );
}

#[tokio::test]
async fn a_scraper_gets_the_format_that_it_asks_for() {
    let api = Fixture::new(nobody().await).await;
    let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
        encoding=delimited";
    for (accept, format, begin) in [
        (None, Format::Text, "# HELP process_cpu_seconds_total "),
        (
            Some("application/openmetrics-text;version=1.0.0,*/*;q=0.1"),
            Format::OpenMetrics,
            "# HELP process_cpu_seconds CPU",
        ),
        // A message's length, then its first field: the name, of 25 bytes.
        (
            Some(protobuf),
            Format::Protobuf,
            "\u{44}\n\u{19}process_cpu_seconds_total",
        ),
    ] {
        let mut sender = api.connect().await;
        let mut request = Request::get("/metrics");
        if let Some(accept) = accept {
            request = request.header(header::ACCEPT, accept);
        }
        let request = request.body(Full::default()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            format.content_type()
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(begin.as_bytes()), "{format:?} {body:?}");
    }
}

#[tokio::test]
async fn bad_jobs_are_told_what_there_is() {
    let api = Fixture::new(nobody().await).await;
    let post = async |body: &str| {
        let (status, body) = api.ask(Method::POST, "/api/v1/jobs", body).await;
        assert_eq!(status, 400, "{body}");
        serde_json::from_str::<ErrorBody>(&body).unwrap().error
    };
    let endpoint = post(&test_job("pod/lab/n9-a")).await;
    assert!(
        endpoint.contains("pod/lab/n1-a") && endpoint.contains("node/n2"),
        "{endpoint}"
    );
    let test = post(&test_job("node/n1").replace("tcp_rr", "tcp_ping")).await;
    assert!(test.contains("path_cost"), "{test}");
    let network = post(&test_job("pod/lab/n1-a").replacen("null", r#""ipip""#, 1)).await;
    assert!(network.contains("vxlan"), "{network}");
    assert!(post("{").await.contains("toll"));
}

#[tokio::test]
async fn a_job_without_its_agents_fails_and_names_them() {
    let api = Fixture::new(nobody().await).await;
    let (status, lines) = api
        .ask(Method::POST, "/api/v1/jobs", &test_job("node/n1"))
        .await;
    assert_eq!(status, 200);
    let last = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let JobEvent::Failed { message, .. } = last else {
        panic!("{lines}")
    };
    assert!(message.contains("agent of node n1"), "{message}");
    let metrics = api.jobs.metrics().text();
    assert!(
        metrics.contains(r#"nettoll_tests_total{test="tcp_rr",outcome="failed"} 1"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_node_has_one_job_at_a_time_and_leaving_cancels_it() {
    let (_listener, agent) = silence().await;
    let api = Fixture::new(agent).await;
    let (first, sender) = api
        .send(Method::POST, "/api/v1/jobs", &test_job("node/n2"))
        .await;
    assert_eq!(first.status(), 200);
    let mut body = first.into_body();
    // 10 rounds of one path; loopback has no baseline.
    assert!(matches!(
        next(&mut body).await,
        JobEvent::Planned { rounds: 10, .. }
    ));
    for _ in 0..3 {
        assert!(matches!(
            next(&mut body).await,
            JobEvent::Progress { done: 0, .. }
        ));
    }
    let (status, busy) = api
        .ask(Method::POST, "/api/v1/jobs", &test_job("node/n2"))
        .await;
    assert!(
        status == 409 && busy.contains("node n2 is busy with another job"),
        "{busy}"
    );
    // Within node n1 it disturbs nothing.
    let elsewhere = test_job("node/n1").replace("node/n2", "node/n1");
    let (beside, _sender) = api.send(Method::POST, "/api/v1/jobs", &elsewhere).await;
    assert_eq!(beside.status(), 200);

    drop((body, sender));
    let mut status = 409;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        status = api
            .send(Method::POST, "/api/v1/jobs", &test_job("node/n2"))
            .await
            .0
            .status()
            .as_u16();
        if status == 200 {
            break;
        }
    }
    assert_eq!(status, 200);
    tokio::time::timeout(Duration::from_secs(5), api.jobs.shut_down())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_socket_is_its_owners_and_replaces_a_stale_one() {
    let api = Fixture::new(nobody().await).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&api.socket()), 0o600);
    let listen = Listen::Unix(api.socket());
    assert!(matches!(
        Listener::bind(&listen).await,
        Err(ListenError::Taken(_))
    ));

    // The file goes with its listener.
    api.server.abort();
    assert!(api.server.await.is_err());
    assert!(!api.folder.path().join("api.sock").exists());

    let stale = api.folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let listener = Listener::bind(&Listen::Unix(stale.clone())).await.unwrap();
    assert_eq!(mode(&stale), 0o600);
    drop(listener);
    assert!(!stale.exists());

    fs::write(&stale, "precious").unwrap();
    let refused = Listener::bind(&Listen::Unix(stale)).await;
    assert!(matches!(refused, Err(ListenError::NoSocket(_))));
}

#[tokio::test]
async fn few_may_wait_for_stacks() {
    let api = Fixture::new(nobody().await).await;
    let folded = "/stacks?format=folded";
    assert_eq!(api.ask(Method::GET, folded, "").await, (200, String::new()));
    let (status, told) = api.ask(Method::GET, "/stacks?format=svg", "").await;
    assert!(status == 400 && told.contains("pprof and folded"), "{told}");
    // Who waits long, in connections of their own.
    let wait = "/stacks?format=folded&seconds=120";
    let request = move || Request::get(wait).body(Full::new(Bytes::new())).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut sender = api.connect().await;
        waiting.push(tokio::spawn(
            async move { sender.send_request(request()).await },
        ));
    }
    let refused = async {
        loop {
            // Until both are there, a third would wait as they do.
            let asked =
                tokio::time::timeout(Duration::from_millis(100), api.ask(Method::GET, wait, ""));
            if let Ok(answer) = asked.await {
                return answer;
            }
        }
    };
    let (status, told) = tokio::time::timeout(Duration::from_secs(10), refused)
        .await
        .unwrap();
    assert!(status == 429 && told.contains("ask again later"), "{told}");
    assert_eq!(api.ask(Method::GET, "/metrics", "").await.0, 200);
    assert!(waiting.iter().all(|request| !request.is_finished()));
}

#[tokio::test]
async fn few_connections_at_a_time_and_none_that_reads_nothing() {
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let Listener::Tcp(bound) = &listener else {
        panic!("a TCP listener");
    };
    let address = bound.local_addr().unwrap();
    let limits = Limits {
        connections: 1,
        unread: Duration::from_secs(1),
    };
    let server = tokio::spawn(listener.serve(limits, |request| async move {
        // More than the sockets' buffers hold.
        let bytes = if request.uri().path() == "/much" {
            64 << 20
        } else {
            1
        };
        respond(
            StatusCode::OK,
            "text/plain",
            whole(vec![b'x'; bytes].into()),
        )
    }));
    let ask = async |page: &str| {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, driver) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        let request = Request::get(page).body(Full::new(Bytes::new())).unwrap();
        (sender.send_request(request).await.unwrap(), sender)
    };
    // Its body is never read.
    let stuck = ask("/much").await;
    let begin = std::time::Instant::now();
    let answered = tokio::time::timeout(Duration::from_secs(20), ask("/little"))
        .await
        .expect("the client that does not read has the only place still");
    assert_eq!(answered.0.status(), 200);
    assert!(
        begin.elapsed() > Duration::from_millis(500),
        "two at a time"
    );
    drop(stuck);
    server.abort();
}
