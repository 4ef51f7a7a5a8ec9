//! Against a controller that says what a test wants it to.

use std::path::Path;

use nettoll_core::api::{JobEvent, ProbeMode, TestJob};
use nettoll_core::report::{Options, TestType};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

use super::*;
use crate::failure::Failure;

/// A controller that gives one answer, cut into pieces as small as can be.
fn controller(directory: &Path, answer: &str) -> Client {
    let socket = directory.join("controller.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let answer = answer.to_owned();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        for byte in answer.bytes() {
            stream.write_all(&[byte]).await.unwrap();
        }
    });
    Client {
        place: Place::Here(Address::Unix(socket)),
        patience: PATIENCE,
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n{body}")
}

fn job() -> Job {
    Job::Test(TestJob {
        from: "node/n1".parse().unwrap(),
        to: "node/n2".parse().unwrap(),
        network: None,
        test: TestType::TcpRr,
        options: Options {
            seconds: 1.0,
            rounds: 10,
            warmup_ms: 0,
            message_bytes: 1,
            request_bytes: 64,
            response_bytes: 64,
            sample_hz: 97,
            mss_bytes: None,
            datagram_bytes: 1_400,
            rate_bits_per_second: None,
        },
        against: None,
        probe: ProbeMode::Both,
    })
}

/// What a job gives, and the events on the way.
async fn run(answer: &str) -> (Result<JobResult, Error>, Vec<JobEvent>) {
    let directory = tempfile::tempdir().unwrap();
    let client = controller(directory.path(), answer);
    let mut events = Vec::new();
    let result = client.job(&job(), |event| events.push(event.clone())).await;
    (result, events)
}

#[tokio::test(flavor = "current_thread")]
async fn a_job_streams_its_events_and_its_report() {
    let report = crate::sample::report();
    let done = JobEvent::Done(Box::new(JobResult {
        report,
        stacks: Default::default(),
    }));
    let warning = JobEvent::Warning {
        message: "µ".to_owned(),
    };
    let lines: Vec<_> = [&warning, &done]
        .map(|event| serde_json::to_string(event).unwrap() + "\n")
        .into();
    let (result, events) = run(&answer("200 OK", &lines.concat())).await;
    assert_eq!(result.unwrap().report, crate::sample::report());
    assert_eq!(events, [warning]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_failed_job_is_a_failed_run() {
    let failed = "{\"failed\":{\"message\":\"the agent of n2 is gone\"}}\n";
    let (result, _) = run(&answer("200 OK", failed)).await;
    let failure = Failure::from(result.unwrap_err());
    assert!(matches!(&failure, Failure::Run(_)), "{failure}");
    assert!(failure.to_string().contains("the agent of n2 is gone"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_stream_that_ends_early_is_a_failed_run() {
    let (result, _) = run(&answer(
        "200 OK",
        "{\"planned\":{\"rounds\":4,\"seconds\":1}}\n",
    ))
    .await;
    let failure = Failure::from(result.unwrap_err());
    assert!(
        failure.to_string().contains("ended before the job did"),
        "{failure}"
    );
    assert!(matches!(failure, Failure::Run(_)));
}

#[tokio::test(flavor = "current_thread")]
async fn a_refused_job_is_wrong_usage() {
    let (result, _) = run(&answer(
        "400 Bad Request",
        "{\"error\":\"there is no node n9\"}",
    ))
    .await;
    let failure = Failure::from(result.unwrap_err());
    assert!(
        failure.to_string().contains("there is no node n9"),
        "{failure}"
    );
    assert!(matches!(failure, Failure::Prerequisite(_)));
}

#[tokio::test(flavor = "current_thread")]
async fn a_missing_socket_says_what_to_do() {
    let client = Client {
        place: Place::Here(Address::Unix("/nonexistent/controller.sock".into())),
        patience: PATIENCE,
    };
    let error = client.inventory().await.unwrap_err();
    assert!(error.to_string().contains("nettoll lab up"), "{error}");
    assert!(matches!(Failure::from(error), Failure::Prerequisite(_)));
}

#[tokio::test(flavor = "current_thread")]
async fn an_answer_that_does_not_come_is_not_waited_for_without_end() {
    for begun in ["", "HTTP/1.1 200 OK\r\n\r\n{"] {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("controller.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(begun.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        });
        let client = Client {
            place: Place::Here(Address::Unix(socket)),
            patience: Duration::from_millis(100),
        };
        let error = client.inventory().await.unwrap_err();
        assert!(
            error.to_string().contains("in 100ms: see its log"),
            "{error}"
        );
        assert!(matches!(Failure::from(error), Failure::Prerequisite(_)));
    }
}
