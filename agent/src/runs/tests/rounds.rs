//! What rounds measure.

use super::*;

#[test]
fn every_test_runs_within_one_agent() {
    let _alone = alone();
    let agent = agent();
    for test in tests() {
        let id = test.as_str();
        let prepared = agent.prepare(spec(id, test, Role::Both, 0)).unwrap();
        let flow = prepared.flow.unwrap();
        assert!(flow.client.port() != 0 && flow.server.port() != 0);
        agent.flow(id, flow).unwrap();
        agent.start(id, None).unwrap();
        for pair in 0..3 {
            let side = one_round(&agent, id, pair);
            assert_valid(&side);
            assert!(side.seconds >= 0.1 && side.bytes > 0, "{test}: {side:?}");
            assert!(side.cpu_busy_seconds.is_some());
            assert_eq!(side.lost, 0, "{test}");
            assert_eq!(side.sent.is_some(), test == TestType::UdpStream);
            if test.is_stream() {
                assert_eq!((side.transactions, &side.rtt), (0, &None));
            } else {
                let rtt = side.rtt.unwrap();
                assert!(side.transactions > 0 && rtt.count == side.transactions);
                assert_eq!(side.bytes, 64 * side.transactions);
                let sum = Duration::from_nanos(rtt.sum_ns).as_secs_f64();
                assert!(sum <= side.seconds, "the times add up to the round at most");
                assert!(rtt.max_ns <= rtt.sum_ns);
            }
        }
        let side = agent.finish(id).unwrap();
        assert_eq!(side.node, "n1");
        assert!(side.edges.is_empty() && side.programs.is_empty() && side.stacks.is_none());
        assert!(
            side.user_times.iter().all(|times| times.times.count == 0),
            "only in rounds with the probe"
        );
        let tcp = test.protocol() == Protocol::Tcp;
        assert_eq!(side.tcp.is_some(), tcp);
        if let Some(tcp) = side.tcp {
            assert!(tcp.mss_bytes > 500 && tcp.cwnd_segments > 0);
            assert!(!tcp.congestion_control.is_empty());
        }
        agent.delete(id).unwrap();
    }
}

#[test]
fn segments_are_as_large_as_asked_for() {
    let _alone = alone();
    let agent = agent();
    let sizes = [88, 1440, 32_767];
    let streams = [TestType::TcpStream, TestType::TcpReverse];
    for (mss, test) in sizes
        .into_iter()
        .flat_map(|mss| streams.map(|test| (mss, test)))
    {
        let mut spec = spec("mss", test, Role::Both, 0);
        spec.options.mss_bytes = Some(mss);
        let flow = agent.prepare(spec).unwrap().flow.unwrap();
        agent.flow("mss", flow).unwrap();
        agent.start("mss", None).unwrap();
        assert_valid(&one_round(&agent, "mss", 0));
        let tcp = agent.finish("mss").unwrap().tcp.unwrap();
        assert_eq!(tcp.mss_bytes + tcp.option_bytes.unwrap(), mss);
        agent.delete("mss").unwrap();
    }
}

#[test]
fn two_agents_agree_on_what_was_sent() {
    let _alone = alone();
    let (client, server) = (agent(), agent());
    for test in tests().filter(|&test| test != TestType::PathCost) {
        let (id, port) = (test.as_str(), free_port());
        let listening = server.prepare(spec(id, test, Role::Server, port)).unwrap();
        assert_eq!(listening.flow, None);
        let flow = client
            .prepare(spec(id, test, Role::Client, port))
            .unwrap()
            .flow
            .unwrap();
        server.flow(id, flow).unwrap();
        client.start(id, None).unwrap();
        for pair in 0..3 {
            server.begin(id, round(pair)).unwrap();
            client.begin(id, round(pair)).unwrap();
            let ran = client.run(id, round(pair)).unwrap();
            let served = server.end(id).unwrap();
            client.end(id).unwrap();
            assert_valid(&ran);
            assert_valid(&served);
            assert_eq!(ran.transactions, served.transactions, "{test}");
            assert!(served.cpu_busy_seconds.is_some());
            let datagrams = test == TestType::UdpStream;
            assert_eq!(ran.sent.is_some(), datagrams, "{test}");
            assert_eq!(served.arrived.is_some(), datagrams, "{test}");
            if let (Some(sent), Some(arrived)) = (ran.sent, &served.arrived) {
                let datagrams = arrived.datagrams;
                assert!(datagrams > 0 && datagrams <= sent, "{sent} {arrived:?}");
                assert_eq!(arrived.bytes, datagrams * 1_400);
                assert_eq!(arrived.duplicates, 0);
                assert!(arrived.jitter_ns.is_some());
            } else if test.is_stream() {
                let ratio = served.bytes as f64 / ran.bytes as f64;
                assert!((0.5..2.0).contains(&ratio), "{test}: {ratio}");
                assert!((0.05..0.4).contains(&served.seconds), "{}", served.seconds);
            } else {
                assert_eq!(ran.bytes, served.bytes, "{test}");
            }
        }
        let sides = [client.finish(id).unwrap(), server.finish(id).unwrap()];
        // Of the sender.
        let tcp = sides.each_ref().map(|side| side.tcp.is_some());
        let expected = match (test.protocol(), test.payload()) {
            (Protocol::Udp, _) => [false, false],
            (Protocol::Tcp, Direction::Response) => [false, true],
            (Protocol::Tcp, _) => [true, false],
        };
        assert_eq!(tcp, expected, "{test}");
        let stages: Vec<_> = sides
            .iter()
            .flat_map(|side| &side.user_times)
            .map(|times| (times.stage, times.side, times.direction))
            .collect();
        if test.is_stream() {
            let end = match test.payload() {
                Direction::Response => (UserStage::SocketRx, Side::Client, Direction::Response),
                _ => (UserStage::SocketRx, Side::Server, Direction::Request),
            };
            // Which datagram a call took nobody knows.
            let end = Some(end).filter(|_| test != TestType::UdpStream);
            assert_eq!(stages, Vec::from_iter(end));
        } else {
            let parts = |side, direction| {
                [
                    UserStage::SocketUnsplit,
                    UserStage::SocketWork,
                    UserStage::SocketBacklog,
                    UserStage::SocketQueue,
                    UserStage::Wakeup,
                ]
                .map(|stage| (stage, side, direction))
            };
            let answered = parts(Side::Client, Direction::Response);
            let arrived = parts(Side::Server, Direction::Request);
            let responder = (UserStage::Responder, Side::Server, Direction::Response);
            assert_eq!(stages, [&answered[..], &arrived, &[responder]].concat());
        }
        client.delete(id).unwrap();
        server.delete(id).unwrap();
    }
}

#[test]
fn a_lost_request_is_counted_and_is_no_latency() {
    let _alone = alone();
    let agent = agent();
    let server = UdpSocket::bind((LOCAL, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    // It answers what it is sent, but forgets one request after the warm-up.
    let echo = thread::spawn(move || {
        let mut buffer = [0; 2048];
        for count in 0_u64.. {
            let (length, client) = server.recv_from(&mut buffer).unwrap();
            if length == 1 {
                break;
            }
            if count != 60 {
                buffer[64..200].fill(0);
                server.send_to(&buffer[..200], client).unwrap();
            }
        }
    });
    let mut spec = spec("u", TestType::UdpRr, Role::Client, port);
    spec.options.warmup_ms = 0;
    let flow = agent.prepare(spec).unwrap().flow.unwrap();
    agent.start("u", None).unwrap();
    let long = RoundSpec {
        seconds: 1.1,
        ..round(0)
    };
    agent.begin("u", long.clone()).unwrap();
    let side = agent.run("u", long).unwrap();
    assert_eq!(side.lost, 1);
    assert_valid(&side);
    let rtt = side.rtt.unwrap();
    assert_eq!(rtt.count, side.transactions);
    assert!(rtt.max_ns < 900_000_000, "{}", rtt.max_ns);
    UdpSocket::bind((LOCAL, 0))
        .unwrap()
        .send_to(&[0], flow.server)
        .unwrap();
    echo.join().unwrap();
}

#[test]
fn datagrams_keep_to_their_rate() {
    let _alone = alone();
    let agent = agent();
    let mut spec = spec("rate", TestType::UdpStream, Role::Both, 0);
    spec.options.rate_bits_per_second = Some(11_200_000);
    let flow = agent.prepare(spec).unwrap().flow.unwrap();
    agent.flow("rate", flow).unwrap();
    agent.start("rate", None).unwrap();
    for pair in 0..3 {
        agent.begin("rate", round(pair)).unwrap();
        agent.run("rate", round(pair)).unwrap();
        let side = agent.end("rate").unwrap();
        assert_valid(&side);
        // 1,000 a second.
        let (sent, arrived) = (side.sent.unwrap(), side.arrived.unwrap());
        let expected = (round(pair).seconds * 1e3) as u64;
        assert_eq!(sent, expected);
        assert_eq!((arrived.datagrams, arrived.without_room), (sent, Some(0)));
    }
    agent.delete("rate").unwrap();
}

#[test]
fn a_rate_too_low_for_the_round_is_told() {
    let _alone = alone();
    let agent = agent();
    let mut spec = spec("slow", TestType::UdpStream, Role::Both, 0);
    spec.options.rate_bits_per_second = Some(10_000);
    let flow = agent.prepare(spec).unwrap().flow.unwrap();
    agent.flow("slow", flow).unwrap();
    agent.start("slow", None).unwrap();
    agent.begin("slow", round(0)).unwrap();
    let side = agent.run("slow", round(0)).unwrap();
    let reason = side.invalid_reason.unwrap();
    assert!(reason.contains("take a higher rate"), "{reason}");
    agent.delete("slow").unwrap();
}
