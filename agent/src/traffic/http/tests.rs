//! Against real servers on the loopback device: of names, of HTTP, of TLS.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};

use super::{super::Interval, *};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello";

/// Serves each connection on a thread of its own; returns the address.
fn serve(each: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let each = each.clone();
            thread::spawn(move || each(connection.unwrap()));
        }
    });
    address
}

/// Reads a request to its end, and returns its first line.
fn request(stream: &mut impl std::io::Read) -> String {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
        request.extend(byte);
    }
    let text = String::from_utf8(request).unwrap();
    text.lines().next().unwrap_or_default().to_owned()
}

/// A server of names that knows `web.shop.test` alone, as 127.0.0.1; returns its address.
fn names() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut message = buffer[..length].to_vec();
            message[2] |= 0x80;
            if message[12..].starts_with(b"\x03web\x04shop\x04test\x00\x00\x01") {
                message[7] = 1;
                message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 127, 0, 0, 1]);
            } else {
                message[3] |= 3;
            }
            socket.send_to(&message, from).unwrap();
        }
    });
    address
}

fn ask(target: &Target, patience: Duration) -> Result<Answer, String> {
    target.ask(Instant::now() + patience, &Stop::default())
}

fn plain(address: SocketAddr) -> Target {
    let url = format!("http://{address}/x?y=z").parse().unwrap();
    Target::trusting(url, Resolver::parse(""), RootCertStore::empty()).unwrap()
}

#[test]
fn a_request_by_name_over_tls_shows_each_of_its_stages() {
    let made = rcgen::generate_simple_self_signed(["web.shop.test".to_owned()]).unwrap();
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let web = serve(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        // One client does not like the certificate, and ends.
        let mut first = [0];
        if stream.read_exact(&mut first).is_ok() {
            request(&mut stream);
            stream.write_all(OK).unwrap();
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    let resolver = Resolver::of_servers(vec![names()], &["other.test", "shop.test"]);
    let with = |roots| {
        let url = format!("https://web.shop.test:{}/", web.port())
            .parse()
            .unwrap();
        Target::trusting(url, resolver.clone(), roots).unwrap()
    };
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let answer = ask(&with(roots), PATIENCE).unwrap();
    assert!(answer.stages.iter().all(Option::is_some), "{answer:?}");
    assert_eq!((answer.status, answer.address), (200, web));
    assert_eq!(answer.tls.as_deref(), Some("TLSv1_3"));
    assert_eq!(answer.bytes, OK.len() as u64);

    let untrusted = ask(&with(RootCertStore::empty()), PATIENCE).unwrap_err();
    assert!(untrusted.starts_with("TLS failed"), "{untrusted}");
    // By the second domain of the search list, and not at all.
    let found = resolver.look_up("web", Instant::now() + PATIENCE);
    assert_eq!(found, Ok(vec![Ipv4Addr::LOCALHOST.into()]));
    let unknown = resolver.look_up("db", Instant::now() + PATIENCE);
    assert_eq!(unknown.unwrap_err(), "no server knows the name db");
}

#[test]
fn what_does_not_answer_ends_in_time_and_in_words() {
    let patience = Duration::from_millis(300);
    let told = |address| {
        let begin = Instant::now();
        let error = ask(&plain(address), patience).unwrap_err();
        assert!(begin.elapsed() < patience * 10, "{error}");
        error
    };
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let refused = closed.local_addr().unwrap();
    drop(closed);
    assert!(told(refused).contains("cannot connect"));
    let silent = serve(|stream| thread::sleep(stream.nodelay().map(|_| PATIENCE).unwrap()));
    assert!(told(silent).contains("no answer"));
    let gone = serve(drop);
    told(gone);
    let other = serve(|mut stream| {
        request(&mut stream);
        stream.write_all(b"SSH-2.0-x\r\n").unwrap();
    });
    assert!(told(other).contains("not HTTP"));
    // It goes on and on; what came first counts.
    let endless = serve(|mut stream| {
        request(&mut stream);
        while stream.write_all(b"HTTP/1.1 503 Busy\r\n").is_ok() {}
    });
    let answer = ask(&plain(endless), patience).unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.bytes <= 64 << 10, "{}", answer.bytes);
}

#[test]
fn requests_are_due_whatever_became_of_those_before() {
    let slow = Duration::from_millis(120);
    let web = serve(move |mut stream| {
        assert_eq!(request(&mut stream), "GET /x?y=z HTTP/1.1");
        thread::sleep(slow);
        stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
    });
    let stop = Stop::default();
    let mut client = HttpRr::new(plain(web), &stop);
    client.start().unwrap();
    let length = PERIOD * 10;
    let mut round = Round::new(length, true, None, Interval::default());
    client.round(&mut round).unwrap();
    let side = round.side(None);
    // One worker alone would have made four.
    assert_eq!((side.transactions, side.lost), (10, 0));
    assert_eq!(side.invalid_reason, None);
    let rtt = side.rtt.unwrap();
    assert!(rtt.sum_ns / rtt.count >= slow.as_nanos() as u64);
    let http = client.http();
    let http = http.lock().unwrap();
    assert_eq!(http.statuses, [(404, 10)].into());
    assert_eq!(http.error_status(), Some(404));
    assert_eq!((http.address, &http.failure), (Some(web), &None));
    let counts = client
        .seen()
        .into_iter()
        .map(|seen| seen.user_times().times.count);
    assert_eq!(counts.collect::<Vec<_>>(), [0, 10, 0, 10]);
    drop(http);
    stop.stop();
    assert!(matches!(client.start(), Err(TrafficError::Stopped)));
}
