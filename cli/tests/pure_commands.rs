//! The program as users start it: what it prints and how it ends. No root, no lab.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{ErrorKind, Read as _},
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Output, Stdio},
};

const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/report.json");

fn nettoll() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nettoll"));
    command
        .env_remove("NETTOLL_CONTROLLER")
        .env_remove("COLUMNS");
    command
}

fn run(arguments: &[&str]) -> Output {
    nettoll().args(arguments).output().unwrap()
}

fn error_of(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_saved_report_is_shown_as_plain_text() {
    let output = run(&["report", REPORT]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("pod-to-pod over vxlan against host-to-host\n"),
        "{text}"
    );
    assert!(!text.contains('\x1b'));
}

#[test]
fn a_saved_report_stays_what_it_is() {
    let output = run(&["report", REPORT, "-o", "json"]);
    let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
    let saved = value(&fs::read(REPORT).unwrap());
    let shown = value(&output.stdout);
    assert_eq!(shown["tolls"], saved["tolls"]);
    assert_eq!(shown["schema"], "nettoll.report/v1");
}

#[test]
fn an_invalid_run_ends_with_1_and_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    let report = fs::read_to_string(REPORT).unwrap();
    let invalid = report.replacen(
        "\"valid\":true,\"invalid_reasons\":[]",
        "\"valid\":false,\"invalid_reasons\":[\"steal\"]",
        1,
    );
    fs::write(&file, invalid).unwrap();
    let out = directory.path().join("out");
    let output = nettoll()
        .arg("report")
        .arg(&file)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error_of(&output).contains("invalid, and in no toll: loopback path_cost (steal)"));
    assert!(out.join("report.html").is_file());
}

/// The sample report, changed.
fn changed(change: impl Fn(&mut serde_json::Value)) -> tempfile::NamedTempFile {
    let mut report = serde_json::from_slice(&fs::read(REPORT).unwrap()).unwrap();
    change(&mut report);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), report.to_string()).unwrap();
    file
}

#[test]
fn a_regression_ends_with_3_and_its_figures() {
    let output = run(&["compare", REPORT, REPORT]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("\n0 regressed, 0 improved, "), "{text}");

    // Half the throughput, beyond doubt, on the path over vxlan alone.
    let slower = changed(|report| {
        for toll in report["tolls"].as_array_mut().unwrap() {
            if toll["metric"] == "throughput" && toll["path"]["network"] == "vxlan" {
                let half = |value: &serde_json::Value| (value.as_f64().unwrap() / 2.0).into();
                toll["ratio"] = half(&toll["ratio"]);
                for end in 0..2 {
                    toll["ci95"][end] = half(&toll["ci95"][end]);
                }
            }
        }
    });
    let new = slower.path().to_str().unwrap();
    let tolls = ["--figures", "tolls"];
    let output = run(&[&["compare", REPORT, new], &tolls[..]].concat());
    assert_eq!(output.status.code(), Some(3));
    let told = error_of(&output);
    assert!(
        told.contains("figures are worse by more than 5 %"),
        "{told}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let row = text
        .lines()
        .find(|line| line.ends_with("regressed"))
        .unwrap();
    assert!(
        row.trim_start().starts_with("throughput") && row.contains("+50.0 %"),
        "{row}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );

    let json = run(&[
        &["compare", REPORT, new, "-o", "json", "--tolerance", "60%"],
        &tolls[..],
    ]
    .concat());
    assert_eq!(json.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["schema"], "nettoll.compare/v1");
    assert_eq!(
        (&json["regressed"], &json["tolerance_percent"]),
        (&0.into(), &60.0.into())
    );
}

#[test]
fn a_gate_does_not_pass_because_nothing_was_compared() {
    let empty = changed(|report| {
        report["tolls"] = serde_json::json!([]);
        report["runs"] = serde_json::json!([]);
    });
    let empty = empty.path().to_str().unwrap();
    for (old, new, says) in [
        (REPORT, empty, "not all of the old report can be compared"),
        (empty, empty, "nothing to compare"),
    ] {
        let output = run(&["compare", old, new]);
        assert_eq!(output.status.code(), Some(1));
        assert!(error_of(&output).contains(says), "{}", error_of(&output));
    }
}

#[test]
fn wrong_usage_ends_with_2_and_names_what_is_valid() {
    let cases: [(&[&str], &str); 15] = [
        (&["path", "--from", "node/n1"], "--to <ENDPOINT>"),
        (&["flame"], "--from <ENDPOINT>"),
        (&["flame", "--from", "node/n1"], "--to <ENDPOINT>"),
        (
            &["flame", "--run", "../x"],
            "a run's id has 1 to 64 letters",
        ),
        (
            &["flame", "--run", "x", "--diff", "-o", "folded"],
            "a difference is a picture",
        ),
        (&["report"], "<FILE|--run <ID>>"),
        (
            &[
                "test", "--from", "n1", "--to", "node/n2", "--type", "tcp_rr",
            ],
            "node/NAME",
        ),
        (
            &[
                "test", "--from", "node/n1", "--to", "node/n2", "--type", "x",
            ],
            "path_cost",
        ),
        (
            &["toll", "--pairs", "3"],
            "give a whole number from 10 to 1000",
        ),
        (&["toll", "--sample-hz", "x"], "from 1 to 10000"),
        (
            &["toll", "--controller", "https://example.org"],
            "http://127.0.0.1:PORT",
        ),
        (
            &["report", "/nonexistent"],
            "cannot read /nonexistent: No such file or directory (os error 2); give a report.json",
        ),
        (&["report", "/"], "give a report.json"),
        (&["compare", REPORT, "/"], "give a report.json"),
        (
            &["compare", REPORT, REPORT, "--tolerance", "x"],
            "give percent from 0 to 99",
        ),
    ];
    for (arguments, told) in cases {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            error_of(&output).contains(told),
            "{arguments:?}: {}",
            error_of(&output)
        );
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_anything_is_measured() {
    let folder = "/proc/nettoll";
    let test = ["--from", "node/n1", "--to", "node/n2", "--type", "tcp_rr"];
    for command in [
        vec!["toll"],
        [&["test"][..], &test].concat(),
        vec!["report", REPORT],
    ] {
        let output = run(&[&command[..], &["--out", folder]].concat());
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let error = error_of(&output);
        assert!(
            error.contains(folder) && error.contains("give --out"),
            "{error}"
        );
    }
}

#[test]
fn without_a_controller_it_says_what_to_do() {
    let output = run(&["toll", "--controller", "unix:/nonexistent/controller.sock"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        error_of(&output).contains("nettoll lab up"),
        "{}",
        error_of(&output)
    );
}

/// The program under its other name, for a user without a kubeconfig.
fn plugin(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kubectl-nettoll"))
        .env_remove("NETTOLL_CONTROLLER")
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_plugin_is_the_same_program_and_calls_itself_as_kubectl_does() {
    let output = plugin(&["test", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Usage: kubectl nettoll test"), "{help}");
}

#[test]
fn a_cluster_that_cannot_be_asked_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        let path = directory.path().join("config");
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let nobody = "{apiVersion: v1, kind: Config, current-context: c, \
        contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {}}], \
        clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]}";
    let cases: [(&[&str], &str); 5] = [
        (&[], "there is no kubeconfig"),
        (&["--kubeconfig", "/nonexistent"], "'/nonexistent'"),
        (
            &["--kubeconfig", &file(nobody)],
            "the cluster does not answer",
        ),
        (
            &["--kubeconfig", &file(nobody), "--context", "x"],
            "cannot use the kubeconfig",
        ),
        (
            &["--context", "x", "--controller", "unix:/x"],
            "cannot be used with",
        ),
    ];
    for (arguments, told) in cases {
        let output = plugin(&[&["toll"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = error_of(&output);
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
    // What cannot be read may be a key, and is not shown.
    let secret = file("users: [{token: hunter2, {");
    let error = error_of(&plugin(&["toll", "--kubeconfig", &secret]));
    assert!(
        error.contains("no valid YAML") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn ctrl_c_closes_the_connection_and_ends_with_130() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("controller.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let child = nettoll()
        .arg("toll")
        .arg("--controller")
        .arg(format!("unix:{}", socket.display()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut connection, _) = listener.accept().unwrap();
    let mut request = [0; 1024];
    assert!(
        connection.read(&mut request).unwrap() > 0,
        "a request must come"
    );
    interrupt(child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    match connection.read(&mut request) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("the connection is still there: {other:?}"),
    }
}

fn interrupt(pid: u32) {
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    let kill = Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
}

#[test]
fn a_test_that_cannot_be_run_there_is_refused_without_a_controller() {
    let url = "url/http://198.18.0.2/";
    for (command, to, told) in [
        (
            &["test", "--type", "http_rr"][..],
            "node/n2",
            "the tests there are tcp_stream, tcp_reverse, udp_stream, tcp_rr, udp_rr, path_cost",
        ),
        (
            &["test", "--type", "tcp_rr"],
            url,
            "the tests there are http_rr",
        ),
        (
            &["path"],
            url,
            "'nettoll test --type http_rr --from node/n1 --to url/http://198.18.0.2/'",
        ),
    ] {
        let ends = ["--from", "node/n1", "--to", to];
        // Nobody listens there, and nobody is asked.
        let controller = ["--controller", "unix:/nowhere"];
        let output = run(&[command, &ends, &controller].concat());
        let error = error_of(&output);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(told), "{error}");
    }
}
