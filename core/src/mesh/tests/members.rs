use std::sync::Arc;

use super::*;

#[test]
fn members_are_chosen_by_their_labels() {
    let mut bed = cluster(6);
    for number in [2, 3, 5] {
        let Some(Event::Node(mut facts)) = node(number, "zone-a").into_iter().next() else {
            panic!("no node first");
        };
        facts.labels = Arc::new([("pool".to_owned(), "apps".to_owned())].into());
        bed.apply(Event::Node(facts));
    }
    let chosen = |selector: &str| {
        let nodes = selector.to_owned().try_into().unwrap();
        let plan = Plan::new(&bed, &with(|s| s.nodes = nodes));
        let names = plan.members().iter().map(|member| member.name.clone());
        names.collect::<BTreeSet<_>>()
    };
    assert_eq!(chosen("").len(), 6);
    assert_eq!(
        chosen("pool=apps"),
        ["n2", "n3", "n5"].map(str::to_owned).into()
    );
    assert_eq!(
        chosen("!pool"),
        ["n1", "n4", "n6"].map(str::to_owned).into()
    );
}
