use std::{collections::BTreeMap, sync::Arc};

use super::{PickPolicy, pick};
use crate::{
    catalog::tests::registration,
    model::{Instance, LastSeen, Lease, Registration, Revision, Status, Timestamp},
};

fn instance(id: &str, weight: u16) -> Arc<Instance> {
    let registration = Registration {
        weight,
        ..registration(id, "a")
    };
    Arc::new(Instance {
        registration: Arc::new(registration),
        observed: Status::Healthy,
        overridden: None,
        lease: Lease::Running,
        registered_at: Timestamp(0),
        revision: Revision(1),
        incarnation: 1,
        reason: None,
        owner: None,
        last_seen: Arc::new(LastSeen::new(0)),
        bytes: 0,
        encoded: std::sync::OnceLock::new(),
    })
}

fn ids(policy: PickPolicy<'_>, among: &[Arc<Instance>], times: usize) -> Vec<String> {
    let among: Vec<_> = among.iter().collect();
    let picks = (0..times).filter_map(|turn| pick(policy, &among, || turn));
    picks.map(|one| one.id().to_string()).collect()
}

#[test]
fn picking_from_no_instance_gives_none() {
    for policy in [
        PickPolicy::RoundRobin,
        PickPolicy::Random,
        PickPolicy::Weighted,
        PickPolicy::Hash("k"),
    ] {
        assert!(ids(policy, &[], 1).is_empty());
    }
}

#[test]
fn round_robin_picks_instances_in_turn() {
    let among = [instance("a", 1), instance("b", 1), instance("c", 1)];
    assert_eq!(
        ids(PickPolicy::RoundRobin, &among, 5),
        ["a", "b", "c", "a", "b"]
    );
}

#[test]
fn picks_are_in_proportion_to_the_weights() {
    let among = [instance("none", 0), instance("one", 1), instance("nine", 9)];
    let mut counts = BTreeMap::new();
    for id in ids(PickPolicy::Weighted, &among, 10_000) {
        *counts.entry(id).or_insert(0) += 1;
    }
    assert!(!counts.contains_key("none"), "{counts:?}");
    assert!((700..1300).contains(&counts["one"]), "{counts:?}");
    let none = [instance("none", 0), instance("nil", 0)];
    let picked = ids(PickPolicy::Weighted, &none, 200);
    for id in ["none", "nil"] {
        assert!(
            picked.contains(&id.to_owned()),
            "without any weight all are picked alike"
        );
    }
}

#[test]
fn random_picks_reach_every_instance() {
    let among = [instance("a", 1), instance("b", 1)];
    let picked = ids(PickPolicy::Random, &among, 200);
    assert!(picked.contains(&"a".to_owned()) && picked.contains(&"b".to_owned()));
}

#[test]
fn a_key_moves_only_when_it_must() {
    let all: Vec<_> = (0..10).map(|n| instance(&format!("i{n}"), 1)).collect();
    let fewer = &all[..9];
    let (mut moved, mut of_the_last) = (0, 0);
    let mut counts = BTreeMap::new();
    for n in 0..2000 {
        let key = format!("key-{n}");
        let before = ids(PickPolicy::Hash(&key), &all, 1).remove(0);
        let after = ids(PickPolicy::Hash(&key), fewer, 1).remove(0);
        if before == "i9" {
            of_the_last += 1;
        } else if before != after {
            moved += 1;
        }
        *counts.entry(before).or_insert(0) += 1;
    }
    assert_eq!(moved, 0, "only keys of the one that left move");
    assert!(of_the_last > 0);
    assert!(
        counts.values().all(|count| (120..280).contains(count)),
        "{counts:?}"
    );
}
