use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{FEW, Unacked};

#[test]
fn one_delivery_kept_for_ever_does_not_keep_its_successors_slots() {
    let mut unacked = Unacked::default();
    unacked.insert(1, 1);
    for tag in 2..100_000u64 {
        unacked.insert(tag, tag);
        assert_eq!(unacked.take(tag), Some(tag));
    }
    let places = unacked.places + unacked.last.held.capacity();
    assert!(places <= 256, "{places} places");
    assert_eq!(unacked.take(1), Some(1));
    assert!(unacked.is_empty());
}

#[test]
fn a_gap_of_any_size_costs_nothing() {
    let mut unacked = Unacked::default();
    unacked.insert(1, "a");
    unacked.insert(u64::MAX - 1, "b");
    assert_eq!(unacked.len(), 2);
    assert_eq!(unacked.take_first(5), Some((1, "a")));
    assert_eq!(unacked.take_first(5), None);
    assert_eq!(unacked.take(u64::MAX - 1), Some("b"));
}

#[test]
fn a_gap_behind_many_moves_few() {
    let mut unacked = Unacked::default();
    for tag in 1..=150_000u64 {
        unacked.insert(tag, tag);
    }
    unacked.insert(600_000, 600_000);
    assert!(unacked.few.len() <= 64, "{} were moved", unacked.few.len());
    assert_eq!(unacked.len(), 150_001);
    assert_eq!(
        unacked.next_from(150_001).map(|found| found.0),
        Some(600_000)
    );
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Take(u64),
    TakeUpTo(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..4).prop_map(Step::Insert),
        1 => (1500u64..3000).prop_map(Step::Insert),
        4 => (0u64..200).prop_map(Step::Take),
        1 => (0u64..200).prop_map(Step::TakeUpTo),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_map(steps in prop::collection::vec(step(), 0..300)) {
        let mut unacked = Unacked::default();
        let mut model = BTreeMap::new();
        let mut tag = 0;
        for step in steps {
            match step {
                Step::Insert(gap) => {
                    tag += gap;
                    unacked.insert(tag, tag);
                    model.insert(tag, tag);
                }
                Step::Take(back) => {
                    let wanted = tag.saturating_sub(back);
                    prop_assert_eq!(unacked.take(wanted), model.remove(&wanted));
                }
                Step::TakeUpTo(back) => {
                    let limit = tag.saturating_sub(back);
                    while let Some((taken, _)) = unacked.take_first(limit) {
                        prop_assert_eq!(model.pop_first().map(|first| first.0), Some(taken));
                    }
                    prop_assert!(model.first_key_value().is_none_or(|first| *first.0 > limit));
                }
            }
            prop_assert_eq!(unacked.len(), model.len());
            let blocks = unacked.blocks.values();
            let places: usize = blocks.clone().map(|block| block.held.capacity()).sum();
            prop_assert_eq!(unacked.places, places);
            let live: usize = blocks.clone().map(|block| block.len).sum();
            prop_assert_eq!(live + unacked.few.len() + unacked.last.len, unacked.len());
            prop_assert!(blocks.skip(1).all(|block| block.len > FEW), "{:?}", unacked);
            let mut next = 0;
            let tags: Vec<_> = std::iter::from_fn(|| {
                let (tag, _) = unacked.next_from(next)?;
                next = tag + 1;
                Some(tag)
            })
            .collect();
            let expected: Vec<_> = model.keys().copied().collect();
            prop_assert_eq!(tags, expected);
        }
    }
}
