//! Certificates through the years.

use super::*;

const NAME: &str = "agent.nettoll";

fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_795_000_000).unwrap()
}

fn authority() -> Authority {
    Authority::advance(None, start()).unwrap()
}

#[test]
fn a_certificate_begins_ten_minutes_ago_and_names_its_owner() {
    let authority = authority();
    let leaf = authority.leaf(None, NAME, start()).unwrap();
    let life = Life::of(&leaf.certificate).unwrap();
    assert_eq!(life.begin, start() - Duration::minutes(10));
    assert_eq!(life.end, start() + Duration::days(30));
    assert!(authority.is_good(&leaf, NAME, start()));
    assert!(!authority.is_good(&leaf, "controller.nettoll", start()));
}

#[test]
fn a_good_certificate_stays_and_a_bad_one_is_replaced() {
    let authority = authority();
    let leaf = authority.leaf(None, NAME, start()).unwrap();
    let kept =
        |known: &Pair, now| authority.leaf(Some(known.clone()), NAME, now).unwrap() == *known;
    assert!(kept(&leaf, start() + Duration::days(19)));
    assert!(!kept(&leaf, start() + Duration::days(21)));
    // Whoever made it had a clock that was fifteen minutes ahead.
    assert!(!kept(&leaf, start() - Duration::minutes(15)));
    let other = Authority::advance(None, start()).unwrap();
    assert!(!kept(&other.leaf(None, NAME, start()).unwrap(), start()));
    let strange_key = Pair {
        key: KeyPair::generate().unwrap().serialize_pem(),
        ..leaf.clone()
    };
    assert!(!kept(&strange_key, start()));
    let rubbish = Pair {
        certificate: "rubbish".into(),
        ..leaf
    };
    assert!(!kept(&rubbish, start()));
}

#[test]
fn a_ca_is_told_before_it_signs_and_trusted_until_it_ends() {
    let first = authority();
    let advance = |known: &Authority, days| {
        let now = start() + Duration::days(days);
        Authority::advance(Some(known.clone()), now).unwrap()
    };
    assert!(advance(&first, 200) == first);
    let told = advance(&first, 250);
    let next = told.next.clone().unwrap();
    assert!(told.current == first.current);
    assert!(told.bundle().contains(&first.current.certificate));
    assert!(told.bundle().contains(&next.certificate));
    assert!(advance(&told, 250) == told);

    let signing = advance(&told, 251);
    assert!(signing.current == next && signing.next.is_none());
    assert!(signing.bundle().contains(&first.current.certificate));
    let ended = advance(&signing, 366);
    assert!(!ended.bundle().contains(&first.current.certificate));
}

#[test]
fn what_ended_or_cannot_be_read_is_made_anew() {
    let first = authority();
    let late = Authority::advance(Some(first.clone()), start() + Duration::days(400)).unwrap();
    assert!(late.current != first.current);
    let broken = Authority {
        current: Pair {
            certificate: String::new(),
            key: String::new(),
        },
        ..first
    };
    let made = Authority::advance(Some(broken), start()).unwrap();
    assert!(Life::of(&made.current.certificate).is_some());
}
