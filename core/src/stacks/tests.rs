use super::*;
use crate::api::Stack;

fn of(path: PathKind, network: Option<&str>) -> Of {
    Of {
        path,
        network: network.map(str::to_owned),
        test: TestType::TcpStream,
    }
}

fn stacks(stacks: &[(&str, &[&str], u64)]) -> Stacks {
    let stack = |&(thread, frames, samples): &(&str, &[&str], u64)| Stack {
        thread: thread.to_owned(),
        frames: frames.iter().map(|&frame| frame.to_owned()).collect(),
        samples,
    };
    Stacks {
        hz: 1_000,
        stacks: stacks.iter().map(stack).collect(),
        ..Stacks::default()
    }
}

fn folded(totals: &StackTotals, query: &str) -> String {
    let query: Query = format!("format=folded&{query}").parse().unwrap();
    String::from_utf8(totals.page(&query, None)).unwrap()
}

fn example() -> StackTotals {
    let mut totals = StackTotals::new();
    let vxlan = of(PathKind::PodToPod, Some("vxlan"));
    let seen = stacks(&[
        ("a", &["ksys_write", "vxlan_xmit"], 2),
        ("b", &["ksys_write", "vxlan_xmit"], 3),
        ("secret", &[], 4),
        ("swapper", &["do_idle"], 5),
    ]);
    totals.add(vxlan.clone(), &seen);
    totals.add(vxlan, &seen);
    totals.add(of(PathKind::HostToHost, None), &seen);
    totals
}

#[test]
fn runs_add_up_by_path_and_threads_have_no_names() {
    let totals = example();
    assert_eq!(
        folded(&totals, "path=pod-to-pod"),
        "pod-to-pod (vxlan) tcp_stream;[user] 8\n\
         pod-to-pod (vxlan) tcp_stream;do_idle 10\n\
         pod-to-pod (vxlan) tcp_stream;ksys_write;vxlan_xmit 10\n"
    );
    let all = folded(&totals, "");
    assert_eq!(all.lines().count(), 6);
    assert!(!all.contains("secret"), "{all}");
    assert_eq!(folded(&totals, "network=vxlan").lines().count(), 3);
    assert_eq!(folded(&totals, "test=tcp_rr"), "");
}

#[test]
fn what_came_since_is_apart() {
    let mut totals = example();
    let earlier = totals.clone();
    let query: Query = "format=folded".parse().unwrap();
    assert!(totals.page(&query, Some(&earlier)).is_empty());
    let more = stacks(&[
        ("a", &["ksys_write", "vxlan_xmit"], 1),
        ("a", &["ksys_write", "vxlan_rcv"], 2),
    ]);
    totals.add(of(PathKind::PodToPod, Some("vxlan")), &more);
    assert_eq!(
        String::from_utf8(totals.page(&query, Some(&earlier))).unwrap(),
        "pod-to-pod (vxlan) tcp_stream;ksys_write;vxlan_rcv 2\n\
         pod-to-pod (vxlan) tcp_stream;ksys_write;vxlan_xmit 1\n"
    );
}

#[test]
fn a_query_that_makes_no_sense_is_told_what_does() {
    for (text, told) in [
        ("paths=x", "path=KIND"),
        ("path=vxlan", "pod-to-pod"),
        ("test=ping", "tcp_rr"),
        ("format=svg", "folded"),
        ("seconds=0", "1 to 120"),
        ("seconds=1.5", "1 to 120"),
        ("path", "the kinds are"),
    ] {
        let error = text.parse::<Query>().unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
    assert_eq!("&".parse::<Query>().unwrap(), Query::default());
}

#[test]
fn beyond_the_bound_nothing_is_lost() {
    let mut totals = StackTotals::new();
    let of = of(PathKind::PodToPod, None);
    let mut many = stacks(&[]);
    for number in 0..MAX_STACKS + 100 {
        let frame = number.to_string();
        let more = stacks(&[("a", &["vxlan_xmit", &frame], 1)]);
        many.stacks.extend(more.stacks);
    }
    totals.add(of.clone(), &many);
    totals.add(of, &many);
    let page = folded(&totals, "");
    assert_eq!(page.lines().count(), MAX_STACKS + 1);
    // The stacks, the frame that they have in common, and what stands for the others.
    assert_eq!(totals.names.ordered.len(), MAX_STACKS + 2);
    assert!(page.contains(&format!(";{LEFT_OUT_FRAME} 200\n")), "{page}");
}

#[test]
fn a_profile_has_the_same_samples_with_their_labels() {
    let totals = example();
    let profile = crate::pprof::tests::read(&totals.page(&Query::default(), None));
    let mut seen = profile.samples();
    seen.sort();
    assert_eq!(seen.len(), 6);
    let labels = |network: Option<&str>, path: &str, component: &str| {
        let mut labels = vec![
            ("path".to_owned(), path.to_owned()),
            ("test".to_owned(), "tcp_stream".to_owned()),
            ("component".to_owned(), component.to_owned()),
        ];
        labels.extend(network.map(|network| ("network".to_owned(), network.to_owned())));
        labels
    };
    let encap = (
        vec!["vxlan_xmit".to_owned(), "ksys_write".to_owned()],
        [10, 10_000_000],
        labels(Some("vxlan"), "pod-to-pod", "encap"),
    );
    assert!(seen.contains(&encap), "{seen:?}");
    let idle = (
        vec!["do_idle".to_owned()],
        [5, 5_000_000],
        labels(None, "host-to-host", "idle"),
    );
    assert!(seen.contains(&idle), "{seen:?}");
}
