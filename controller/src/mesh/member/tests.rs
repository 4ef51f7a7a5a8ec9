//! The talk with an agent, over real TLS on 127.0.0.1.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use nettoll_core::{
    api::{AGENT_TLS_NAME, LightPathMtu, LightPlan, LightRound, LightWatched, Times},
    histogram::{Histogram, USER_SUB_BITS},
    hop::Side,
    inventory::{Cluster, Event, NodeFacts, PodFacts, Role},
    mesh::{Plan, SERIES_PER_PAIR, Settings, Stream, TCP_SERIES_PER_PAIR},
    report::{Stage, StageClass},
};
use tokio::net::TcpListener;

use super::*;
use crate::{
    agents::{
        Connector, Fleet,
        tests::{Ca, agents_answer},
    },
    metrics::tests::stage,
};

/// An agent as far as the mesh knows it.
#[derive(Default)]
struct Talk {
    instance: u64,
    plans: Vec<LightPlan>,
    /// All rounds of this start.
    rounds: Vec<LightRound>,
    watched: Vec<LightWatched>,
    path_mtus: Vec<LightPathMtu>,
    asked_after: Vec<u64>,
}

type Heard = Arc<Mutex<Talk>>;

fn told(shared: &Heard) -> std::sync::MutexGuard<'_, Talk> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one agent's part of the mesh.
async fn serve(ca: &Ca, shared: Heard) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = ca.acceptor(AGENT_TLS_NAME);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let tls = acceptor.accept(tcp).await.unwrap();
            let shared = Arc::clone(&shared);
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(tls), service));
        }
    });
    address
}

async fn answer(
    shared: Heard,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut told = told(&shared);
    if head.method == Method::PUT {
        told.plans.push(serde_json::from_slice(&body).unwrap());
        return Ok(agents_answer("null"));
    }
    let after = head.uri.query().unwrap().trim_start_matches("after=");
    let after: u64 = after.parse().unwrap();
    told.asked_after.push(after);
    let rounds: Vec<_> = told.rounds.iter().filter(|r| r.sequence > after).collect();
    let rounds: Vec<_> = rounds
        .into_iter()
        .take(MAX_LIGHT_ROUNDS_PER_ANSWER)
        .cloned()
        .collect();
    let results = LightResults {
        version: told.plans.last().map(|plan| plan.version.clone()),
        instance: told.instance,
        next: rounds.last().map_or(after, |round| round.sequence),
        missed: 0,
        rounds,
        responders: Vec::new(),
        watched: told.watched.clone(),
        path_mtus: told.path_mtus.clone(),
    };
    Ok(agents_answer(serde_json::to_vec(&results).unwrap()))
}

/// A cluster of two nodes whose agents are one server.
struct Bed {
    cluster: Cluster,
    fleet: Fleet,
    address: SocketAddr,
}

impl Ground for Bed {
    fn generation(&self) -> u64 {
        self.cluster.generation()
    }

    fn plan(&self, settings: &Settings) -> Plan {
        Plan::new(&self.cluster, settings)
    }

    fn agent(&self, node: &str, _: SocketAddr) -> Arc<Agent> {
        self.fleet.at(node, self.address)
    }

    fn retire(&self, _: &str) {}
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::new("vxlan");
    for (name, last) in [("n1", 1), ("n2", 2)] {
        let pod = |role, network| {
            Event::Pod(PodFacts {
                uid: format!("{name}-{role:?}"),
                namespace: "nettoll".to_owned(),
                name: format!("{name}-{role:?}").to_lowercase(),
                node: Some(name.to_owned()),
                address: Some([198, 18, network, last].into()),
                host_network: false,
                ready: true,
                gone: false,
                role,
            })
        };
        cluster.apply(Event::Node(NodeFacts {
            name: name.to_owned(),
            address: Some([198, 18, 0, last].into()),
            zone: None,
            ready: true,
            labels: Arc::default(),
        }));
        cluster.apply(pod(Role::Agent, 0));
        cluster.apply(pod(Role::EndpointA, 1));
    }
    cluster
}

async fn bed(shared: &Heard) -> Bed {
    let ca = Ca::new();
    let connector: Connector = ca.connector();
    Bed {
        cluster: cluster(),
        fleet: Fleet::new(connector),
        address: serve(&ca, Arc::clone(shared)).await,
    }
}

async fn attending(shared: &Heard) -> Attending {
    let bed = bed(shared).await;
    let mesh = Arc::new(Mesh::new(Settings::default()));
    mesh.state().replan(bed.plan(&Settings::default()));
    let metrics = Arc::new(Metrics::with_mesh(Arc::clone(&mesh)));
    Attending::new("n1".to_owned(), mesh, Arc::new(bed), metrics)
}

/// What the agent has to do.
fn light(attending: &Attending) -> LightPlan {
    attending.mesh.state().light(&attending.node).unwrap()
}

fn round(sequence: u64, edge: &str) -> LightRound {
    let mut times = Histogram::new(USER_SUB_BITS);
    times.record_n(100_000, 50);
    LightRound {
        sequence,
        edge: edge.to_owned(),
        age_ms: 10,
        sent: 50,
        answered: 50,
        lost: 0,
        rtt: Times {
            max_ns: 100_000,
            ..times.to_times()
        },
        ..LightRound::default()
    }
}

#[tokio::test]
async fn an_agent_gets_its_plan_once_and_its_rounds_become_series() {
    let shared = Heard::default();
    let mut attending = attending(&shared).await;
    let order = attending.order().unwrap();
    attending.tell(&order).await.unwrap();
    attending.tell(&order).await.unwrap();
    let plan = light(&attending);
    assert_eq!(told(&shared).plans, std::slice::from_ref(&plan));
    assert_eq!(plan.check(), Ok(()));
    let ten = std::iter::repeat_n(&plan.edges, 10).flatten();
    let ten = (1..).zip(ten).map(|(number, edge)| round(number, &edge.id));
    told(&shared).rounds.extend(ten);
    let asked = attending.ask(&order).await;
    assert!(attending.settle(&order, asked));
    let text = attending.metrics.text();
    for line in [
        "nettoll_up{path=\"host-to-host\",network=\"\",from_node=\"n1\",to_node=\"n2\",from_zone=\"\",to_zone=\"\",test=\"udp_rr\"} 1\n",
        "nettoll_requests_total{path=\"pod-to-pod\",network=\"vxlan\",from_node=\"n1\",to_node=\"n2\",from_zone=\"\",to_zone=\"\",test=\"udp_rr\"} 500\n",
        "nettoll_toll_ratio{path=\"pod-to-pod\",network=\"vxlan\",from_node=\"n1\",to_node=\"n2\",from_zone=\"\",to_zone=\"\",test=\"udp_rr\",metric=\"rtt_mean\"} 1\n",
        "nettoll_toll_interval_ratio{path=\"pod-to-pod\",network=\"vxlan\",from_node=\"n1\",to_node=\"n2\",from_zone=\"\",to_zone=\"\",test=\"udp_rr\",metric=\"rtt_mean\"} 1\n",
        "nettoll_mesh_members{agent=\"answers\"} 1\n",
        "nettoll_mesh_members{agent=\"silent\"} 1\n",
        "nettoll_mesh_rounds_total{outcome=\"counted\"} 20\n",
        "nettoll_rtt_seconds_count{path=\"pod-to-pod\"",
        "nettoll_rtt_left_out_total 0\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

/// Waits until the agents have been told so many plans.
async fn plans(shared: &Heard, count: usize) -> Vec<LightPlan> {
    for _ in 0..100 {
        let plans = told(shared).plans.clone();
        if plans.len() >= count {
            return plans;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no {count} plans: {:?}", told(shared).plans);
}

#[tokio::test]
async fn agents_are_told_that_the_mesh_is_off_by_whoever_leads_and_nothing_by_who_leads_no_more() {
    let shared = Heard::default();
    let mesh = Arc::new(Mesh::new(Settings::default()));
    let metrics = Arc::new(Metrics::with_mesh(Arc::clone(&mesh)));
    let ground = Arc::new(bed(&shared).await);
    let run = Arc::clone(&mesh).run(Arc::<Bed>::clone(&ground), metrics);
    let run = tokio::spawn(run);
    let both = plans(&shared, 2).await;
    assert!(both.iter().all(|plan| !plan.edges.is_empty()));
    mesh.set(Settings {
        enabled: false,
        ..Settings::default()
    });
    let four = plans(&shared, 4).await;
    assert_eq!(four[2..], [LightPlan::default(), LightPlan::default()]);
    mesh.set(Settings::default());
    plans(&shared, 6).await;
    run.abort();
    assert!(run.await.is_err_and(|error| error.is_cancelled()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(told(&shared).plans.len(), 6);
    // The next one begins with the mesh off, where agents still go on with the last plan.
    let settings = Settings {
        enabled: false,
        ..Settings::default()
    };
    let mesh = Arc::new(Mesh::new(settings));
    let metrics = Arc::new(Metrics::with_mesh(Arc::clone(&mesh)));
    let next = tokio::spawn(Arc::clone(&mesh).run(ground, metrics));
    let eight = plans(&shared, 8).await;
    assert_eq!(eight[6..], [LightPlan::default(), LightPlan::default()]);
    assert_eq!(mesh.health().members, [0, 0]);
    next.abort();
}

#[tokio::test]
async fn what_both_nodes_saw_of_a_round_is_joined() {
    let shared = Heard::default();
    let mut asks = attending(&shared).await;
    let order = asks.order().unwrap();
    for (number, edge) in (1..).zip(&light(&asks).edges) {
        // 50 requests took 100 µs each; the nodes saw ten packets that took 2 and 450 µs each.
        let stages = |mean_ns, side| {
            vec![Stage {
                mean_ns,
                side: Some(side),
                ..stage("encap", Some(StageClass::Work))
            }]
        };
        let mut told = told(&shared);
        told.rounds.push(LightRound {
            first_sequence: number,
            stages: stages(2_000.0, Side::Client),
            ..round(number, &edge.id)
        });
        told.watched.push(LightWatched {
            edge: edge.id.clone(),
            first_sequence: number,
            age_ms: 5,
            answered: 50,
            stages: stages(450_000.0, Side::Server),
            no_probe: None,
        });
        told.path_mtus.push(LightPathMtu {
            edge: edge.id.clone(),
            age_ms: 5,
            bytes: 1_450,
            ok: number == 1,
            refused: None,
        });
    }
    // One server is both agents here: what it tells of the other one's part is passed over.
    asks.ask(&order).await.unwrap();
    let alone = asks.metrics.text();
    assert!(!alone.contains("side=\"server\""), "{alone}");
    let mut answers = Attending::new(
        "n2".to_owned(),
        Arc::clone(&asks.mesh),
        Arc::clone(&asks.ground),
        Arc::clone(&asks.metrics),
    );
    let order = answers.order().unwrap();
    answers.ask(&order).await.unwrap();
    // Told once more, counted once.
    answers.ask(&order).await.unwrap();
    let text = answers.metrics.text();
    for line in [
        "path=\"pod-to-pod\",network=\"vxlan\",from_zone=\"\",to_zone=\"\",test=\"udp_rr\",side=\"server\",direction=\"request\",stage=\"encap\",device_kind=\"vxlan\"} 10\n",
        "side=\"\",direction=\"both\",stage=\"wire\",device_kind=\"\"} 50\n",
        "nettoll_closure_ratio{path=\"pod-to-pod\",network=\"vxlan\",from_node=\"n1\",to_node=\"n2\",from_zone=\"\",to_zone=\"\",test=\"udp_rr\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let mtus = text
        .lines()
        .filter(|line| line.starts_with("nettoll_path_mtu_ok{"));
    let mtus: Vec<_> = mtus.filter_map(|line| line.rsplit(' ').next()).collect();
    assert!(mtus.contains(&"0") && mtus.contains(&"1"), "{mtus:?}");
}

/// By the encoder itself, with all that can be known of a pair.
#[test]
fn a_pair_has_as_many_series_as_the_budget_counts() {
    for (tcp_rr, most) in [
        (false, SERIES_PER_PAIR),
        (true, SERIES_PER_PAIR + TCP_SERIES_PER_PAIR),
    ] {
        let settings = Settings {
            tcp_rr,
            ..Settings::default()
        };
        let mesh = Arc::new(Mesh::new(settings.clone()));
        let metrics = Metrics::with_mesh(Arc::clone(&mesh));
        let now_ms = mesh.now_ms();
        {
            let mut state = mesh.state();
            state.plan_for(&cluster(), &settings);
            let edges = state.light("n1").unwrap().edges;
            assert_eq!(edges.len(), if tcp_rr { 4 } else { 2 });
            // A toll's interval is there from ten pairs of rounds on.
            for edge in std::iter::repeat_n(&edges, 9).flatten() {
                assert_eq!(
                    state.take("n1", &round(1, &edge.id), now_ms).0,
                    Round::Counted
                );
            }
            for (number, edge) in (1..).zip(&edges) {
                let stages = vec![stage("encap", Some(StageClass::Work))];
                let probed = LightRound {
                    first_sequence: number,
                    stages: stages.clone(),
                    ..round(number, &edge.id)
                };
                assert_eq!(state.take("n1", &probed, now_ms).0, Round::Counted);
                let watched = LightWatched {
                    edge: edge.id.clone(),
                    first_sequence: number,
                    age_ms: 5,
                    answered: 50,
                    stages,
                    no_probe: None,
                };
                state.take_watched("n2", &watched);
                let test = LightPathMtu {
                    edge: edge.id.clone(),
                    age_ms: 5,
                    bytes: 1_450,
                    ok: true,
                    refused: None,
                };
                state.take_path_mtu("n1", &test, now_ms);
            }
            state.call_streams(0);
            state.call_streams(86_400_000);
            let stream = Stream {
                bytes_per_second: [Some(1e9), Some(6e8)],
                toll: Some(0.6),
            };
            for order in state.due_streams(now_ms) {
                state.end_stream(&order, Some(stream), 1, now_ms);
            }
        }
        let text = metrics.text();
        let of_pair = text.matches("from_node=\"n1\",to_node=\"n2\"").count();
        assert_eq!(of_pair, most, "{text}");
        let tcp = text.matches(",test=\"tcp_rr\"").count();
        assert_eq!(tcp > 0, tcp_rr, "{text}");
    }
}

#[tokio::test]
async fn many_rounds_come_in_many_answers() {
    let shared = Heard::default();
    let mut attending = attending(&shared).await;
    let order = attending.order().unwrap();
    attending.tell(&order).await.unwrap();
    let edge = &light(&attending).edges[0].id;
    told(&shared)
        .rounds
        .extend((1..=300).map(|number| round(number, edge)));
    attending.ask(&order).await.unwrap();
    assert_eq!(told(&shared).asked_after, [0, 128, 256]);
    attending.ask(&order).await.unwrap();
    assert_eq!(told(&shared).asked_after.last(), Some(&300));
}

#[tokio::test]
async fn an_agent_that_began_anew_gets_its_plan_again() {
    let shared = Heard::default();
    let mut attending = attending(&shared).await;
    let order = attending.order().unwrap();
    attending.tell(&order).await.unwrap();
    let edge = light(&attending).edges[0].id.clone();
    told(&shared).rounds.push(round(7, &edge));
    attending.ask(&order).await.unwrap();
    *told(&shared) = Talk {
        instance: 1,
        rounds: vec![round(1, &edge)],
        ..Talk::default()
    };
    attending.ask(&order).await.unwrap();
    let now = told(&shared);
    // Asked after the old sequence, then from the beginning.
    assert_eq!(now.asked_after, [7, 0]);
    assert_eq!(now.plans, [light(&attending)]);
    drop(now);
    let text = attending.metrics.text();
    assert!(text.contains("outcome=\"counted\"} 2\n"), "{text}");
}
