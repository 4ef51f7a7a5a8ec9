//! What is refused, and in which words.

use super::*;

#[test]
fn requests_in_the_wrong_order_are_refused() {
    let _alone = alone();
    let agent = agent();
    let status = |result: Result<(), RunError>| result.unwrap_err().status();
    assert_eq!(status(agent.start("none", None)), 404);
    assert_eq!(status(agent.delete("none")), 404);
    agent
        .prepare(spec("a", TestType::TcpRr, Role::Both, 0))
        .unwrap();
    agent
        .prepare(spec("b", TestType::UdpRr, Role::Both, 0))
        .unwrap();
    let again = agent.prepare(spec("a", TestType::TcpRr, Role::Both, 0));
    assert_eq!(again.unwrap_err().status(), 409);
    let nowhere = agent.prepare(spec("c", TestType::HttpRr, Role::Both, 0));
    assert_eq!(nowhere.unwrap_err().status(), 400, "requests to no URL");
    assert_eq!(agent.prepared(), 2, "what is refused is no run");
    assert_eq!(status(agent.begin("a", round(0))), 409, "before the start");
    agent.start("a", None).unwrap();
    agent.start("b", None).unwrap();
    assert_eq!(status(agent.start("a", None)), 409, "twice");
    assert_eq!(
        status(agent.run("a", round(0)).map(drop)),
        409,
        "before the mark"
    );
    assert_eq!(status(agent.end("a").map(drop)), 409);
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let round = RoundSpec {
            seconds,
            ..round(0)
        };
        assert_eq!(status(agent.begin("a", round)), 400, "{seconds}");
    }
    agent.begin("a", round(0)).unwrap();
    let busy = agent.begin("b", round(0)).unwrap_err();
    assert_eq!(busy.status(), 409);
    assert!(busy.to_string().contains("'a'"), "{busy}");
    assert_eq!(
        status(agent.run("a", round(1)).map(drop)),
        409,
        "another round"
    );
    assert_eq!(status(agent.finish("a").map(drop)), 409, "in a round");
    let side = agent.end("a").unwrap();
    assert!(side.invalid_reason.is_some(), "no traffic, no figures");
    assert_valid(&one_round(&agent, "b", 1));
    assert_valid(&one_round(&agent, "a", 1));
    agent.finish("a").unwrap();
    assert_eq!(status(agent.finish("a").map(drop)), 409, "twice");
    assert_eq!(status(agent.begin("a", round(2))), 409, "after the finish");
}

#[test]
fn a_segment_size_is_one_that_tcp_takes() {
    let _alone = alone();
    let agent = agent();
    for (test, mss) in [
        (TestType::TcpStream, 87),
        (TestType::TcpReverse, 32_768),
        (TestType::TcpRr, 1_440),
    ] {
        let mut spec = spec("a", test, Role::Both, 0);
        spec.options.mss_bytes = Some(mss);
        let refused = agent.prepare(spec).unwrap_err();
        let told = format!("{test}: mss_bytes is {mss}, but must be from 88 to 32767");
        assert!(refused.to_string().contains(&told), "{refused}");
        assert_eq!(refused.status(), 400);
    }
    assert_eq!(agent.prepared(), 0);
}

#[test]
fn a_round_without_a_probe_to_have_fails_alone() {
    let _alone = alone();
    let agent = agent();
    agent.without_probe("none is wanted");
    agent
        .prepare(spec("a", TestType::TcpRr, Role::Both, 0))
        .unwrap();
    agent.start("a", None).unwrap();
    let probed = RoundSpec {
        probe: true,
        ..round(0)
    };
    let refused = agent.begin("a", probed).unwrap_err();
    assert_eq!(refused.status(), 500);
    assert!(
        refused.to_string().starts_with("no probe on this node: "),
        "{refused}"
    );
    assert_valid(&one_round(&agent, "a", 1));
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let _alone = alone();
    let agent = agent();
    let refuse = |change: &dyn Fn(&mut RunSpec), status, words: &str| {
        let mut spec = spec("x", TestType::UdpRr, Role::Both, 0);
        change(&mut spec);
        let error = agent.prepare(spec).unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    refuse(
        &|s| s.options.request_bytes = 15,
        400,
        "request_bytes is 15",
    );
    refuse(&|s| s.options.response_bytes = 65_508, 400, "65507");
    refuse(
        &|s| s.client.address = "::1".parse().unwrap(),
        400,
        "one family",
    );
    refuse(&|s| s.role = Role::Server, 400, "port 0");
    refuse(
        &|s| (s.test, s.role, s.port) = (TestType::PathCost, Role::Client, 1),
        400,
        "path_cost",
    );
    refuse(&|s| s.server.netns = 1, 409, "resolve the path again");
    let elsewhere = Endpoint::Node("n2".to_owned());
    refuse(
        &|s| (s.server.endpoint, s.role, s.port) = (elsewhere.clone(), Role::Server, 1),
        400,
        "not on node n1",
    );
    refuse(
        &|s| s.server.address = "198.18.0.1".parse().unwrap(),
        500,
        "198.18.0.1",
    );
    let taken = UdpSocket::bind((LOCAL, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    refuse(&|s| s.port = port, 409, "choose another");
    assert!(lock(&agent.runs).is_empty());
}

#[test]
fn a_client_without_a_server_is_told_so() {
    let _alone = alone();
    let agent = agent();
    for (test, words) in [
        (TestType::TcpRr, "cannot connect from 127.0.0.1:"),
        (TestType::TcpStream, "cannot connect from 127.0.0.1:"),
        (TestType::TcpReverse, "cannot connect from 127.0.0.1:"),
        (TestType::UdpRr, "refused"),
        (TestType::UdpStream, "refused"),
    ] {
        let id = test.as_str();
        agent
            .prepare(spec(id, test, Role::Client, free_port()))
            .unwrap();
        let error = agent.start(id, None).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.status(), 500);
    }
}

#[test]
fn a_server_answers_its_flow_alone() {
    let _alone = alone();
    let agent = agent();
    let port = free_port();
    agent
        .prepare(spec("s", TestType::TcpRr, Role::Server, port))
        .unwrap();
    let flow = agent
        .prepare(spec("c", TestType::TcpRr, Role::Client, port))
        .unwrap()
        .flow
        .unwrap();
    let other = FlowTuple {
        client: "127.0.0.1:9".parse().unwrap(),
        ..flow
    };
    agent.flow("s", other).unwrap();
    let error = agent.start("c", None).unwrap_err();
    assert!(
        error.to_string().starts_with("the connection broke"),
        "{error}"
    );
}
