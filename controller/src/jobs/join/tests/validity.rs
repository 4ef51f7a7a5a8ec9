//! Rounds and runs that are left out.

use super::*;

/// The server's machine was not the test's alone.
fn disturb(round: &mut MeasuredRound) {
    let Ok(sides) = &mut round.outcome else {
        panic!("canned")
    };
    sides.server.as_mut().unwrap().disturbed = Some("steal".into());
}

#[test]
fn bad_rounds_are_shown_and_left_out() {
    let run = joined(TestType::TcpRr, |_, rounds| {
        let failed = MeasuredRound {
            outcome: Err("lost".into()),
            ..rounds[1].clone()
        };
        rounds.insert(1, failed);
        let Ok(sides) = &mut rounds[4].outcome else {
            panic!("canned")
        };
        sides.client = RoundSide {
            invalid_reason: Some("no byte".into()),
            ..side(9_000)
        };
        disturb(&mut rounds[6]);
    });
    assert!(run.valid, "{:?}", run.invalid_reasons);
    assert_eq!(run.rtt_ns.unwrap().max, 110);
    let reasons: Vec<_> = run
        .rounds
        .iter()
        .filter_map(|r| r.invalid_reason.as_deref())
        .collect();
    assert_eq!(reasons, ["lost", "no byte", "steal"]);
    let disturbed: Vec<_> = run.rounds.iter().filter(|r| r.disturbed).collect();
    assert_eq!(disturbed.len(), 1);
    assert_eq!(disturbed[0].invalid_reason.as_deref(), Some("steal"));
    assert_eq!(run.rounds[1].rtt_mean_ns, None);
}

#[test]
fn what_must_not_be_averaged_in_says_why() {
    let told = |change: &dyn Fn(&mut Inputs<'_>, &mut Vec<MeasuredRound>)| {
        let run = joined(TestType::TcpRr, change);
        assert!(
            !run.valid && run.invalid_reasons.len() == 1,
            "{:?}",
            run.invalid_reasons
        );
        run.invalid_reasons[0].clone()
    };
    let each = |rounds: &mut Vec<MeasuredRound>, change: fn(&mut Sides)| {
        rounds
            .iter_mut()
            .filter_map(|round| round.outcome.as_mut().ok())
            .for_each(change);
    };
    let broken = told(&|inputs, _| inputs.broken = Some("a round failed 2 times: x"));
    assert_eq!(broken, "a round failed 2 times: x");
    let lost = told(&|_, rounds| each(rounds, |sides| sides.client.lost = 20));
    assert_eq!(lost, "200 requests (2.0 %) got no answer");
    let few = told(&|_, rounds| {
        each(rounds, |sides| {
            sides.client.rtt.as_mut().unwrap().histogram[0].1 = 3
        });
    });
    assert!(few.starts_with("30 round trips are too few"), "{few}");
    let bad = told(&|_, rounds| {
        for round in rounds.iter_mut().take(6) {
            round.outcome = Err("timeout".into());
        }
    });
    assert_eq!(
        bad,
        "6 of 20 rounds are no good, the first because: timeout"
    );
}

#[test]
fn spare_rounds_stand_in_for_disturbed_ones() {
    let disturbed = |_: &mut Inputs<'_>, rounds: &mut Vec<MeasuredRound>| {
        rounds.iter_mut().take(8).for_each(disturb);
    };
    let run = joined(TestType::TcpRr, disturbed);
    assert_eq!(
        run.invalid_reasons,
        ["8 of 20 rounds were disturbed, spare ones too; the first because: steal"]
    );
    let run = joined(TestType::TcpRr, |inputs, rounds| {
        disturbed(inputs, rounds);
        rounds.extend(rounds_of(10..14));
    });
    assert!(run.valid, "{:?}", run.invalid_reasons);
    assert_eq!((run.rounds.len(), run.rtt_ns.unwrap().count), (28, 10_000));
}
