use super::*;
use crate::random::SplitMix64;

fn nodes(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A test that runs.
struct Running {
    nodes: BTreeSet<String>,
    steps: usize,
}

/// Many askers, many nodes, tests of many lengths, some given up while they wait.
#[test]
fn no_node_ever_has_two_tests_and_everybody_is_served() {
    let mut random = SplitMix64::new(3);
    let mut turns = Turns::default();
    let mut running: Vec<Running> = Vec::new();
    let mut waiting: Vec<(Ticket, usize)> = Vec::new();
    let (mut taken, mut served, mut longest) = (0, 0, 0);
    for step in 0..20_000 {
        running.retain_mut(|test| {
            test.steps -= 1;
            if test.steps == 0 {
                turns.give_back(&test.nodes);
            }
            test.steps > 0
        });
        // A test within one node names it twice.
        let wanted = [0, 1].map(|_| format!("n{}", random.below(30)));
        let wanted: BTreeSet<String> = wanted.into_iter().collect();
        let steps = 1 + random.below(9);
        match random.below(8) {
            0 | 1 if turns.take(&wanted).is_ok() => {
                taken += 1;
                let nodes = wanted;
                running.push(Running { nodes, steps });
            }
            2..6 => {
                // One asks for more than all others together.
                let asker = random.below(8).saturating_sub(4);
                waiting.push((turns.wait(&format!("ns{asker}"), wanted), step));
            }
            6 if !waiting.is_empty() => {
                let (ticket, _) = waiting.swap_remove(random.below(waiting.len()));
                turns.leave(ticket);
            }
            _ => {}
        }
        random.shuffle(&mut waiting);
        waiting.retain(|&(ticket, since)| match turns.claim(ticket) {
            Some(nodes) => {
                served += 1;
                longest = longest.max(step - since);
                running.push(Running { nodes, steps });
                false
            }
            None => true,
        });
        let all: Vec<&String> = running.iter().flat_map(|test| &test.nodes).collect();
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), distinct.len(), "two tests on one node");
        assert_eq!(turns.taken.len(), distinct.len());
    }
    assert!(taken > 100 && served > 5_000, "{taken} {served}");
    assert!(longest < 200, "{longest} steps");
    for test in running {
        turns.give_back(&test.nodes);
    }
    assert!(turns.is_idle());
}

#[test]
fn where_one_node_is_taken_none_is_and_it_is_named() {
    let mut turns = Turns::default();
    assert_eq!(turns.take(&nodes(&["a", "b"])), Ok(()));
    assert_eq!(turns.take(&nodes(&["b", "c"])), Err("b".to_owned()));
    assert_eq!(turns.take(&nodes(&["c", "d"])), Ok(()));
    turns.give_back(&nodes(&["a", "b"]));
    assert_eq!(turns.take(&nodes(&["b"])), Ok(()));
}

#[test]
fn nobody_overtakes_on_the_nodes_of_one_who_waits() {
    let mut turns = Turns::default();
    turns.take(&nodes(&["a"])).unwrap();
    let first = turns.wait("shop", nodes(&["a", "b"]));
    let second = turns.wait("data", nodes(&["b", "c"]));
    let third = turns.wait("data", nodes(&["d"]));
    assert_eq!(turns.take(&nodes(&["b"])), Err("b".to_owned()));
    assert_eq!(turns.claim(second), None);
    assert_eq!(turns.claim(third), Some(nodes(&["d"])));
    turns.give_back(&nodes(&["a"]));
    assert_eq!(turns.claim(second), None);
    assert_eq!(turns.claim(first), Some(nodes(&["a", "b"])));
    assert_eq!(turns.claim(first), None);
    turns.give_back(&nodes(&["a", "b"]));
    assert_eq!(turns.claim(second), Some(nodes(&["b", "c"])));
}

#[test]
fn who_asks_for_much_waits_for_who_asks_for_little() {
    let mut turns = Turns::default();
    turns.take(&nodes(&["a"])).unwrap();
    let greedy = [(); 5].map(|()| turns.wait("greedy", nodes(&["a"])));
    let modest = turns.wait("modest", nodes(&["a"]));
    let late = turns.wait("late", nodes(&["a"]));
    let mut served = Vec::new();
    for _ in 0..4 {
        turns.give_back(&nodes(&["a"]));
        let all = greedy.into_iter().chain([modest, late]);
        let next: Vec<Ticket> = all
            .filter(|&ticket| turns.claim(ticket).is_some())
            .collect();
        assert_eq!(next.len(), 1);
        served.extend(next);
    }
    assert_eq!(served, [greedy[0], modest, late, greedy[1]]);
    // Who comes now is served in the next round, not after all that were there before.
    let newcomer = turns.wait("newcomer", nodes(&["a"]));
    assert!(greedy[2] < newcomer && newcomer < greedy[3]);
}

#[test]
fn who_gives_up_holds_up_nobody() {
    let mut turns = Turns::default();
    turns.take(&nodes(&["a"])).unwrap();
    let [first, second] = [(); 2].map(|()| turns.wait("shop", nodes(&["a", "b"])));
    turns.leave(first);
    turns.give_back(&nodes(&["a"]));
    assert!(turns.claim(second).is_some());
    assert!(turns.given.is_empty() && turns.waiting.is_empty());
}
