use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;

use super::{List, Ring, SplitMap};

proptest! {
    #[test]
    fn a_ring_agrees_with_a_deque(
        steps in prop::collection::vec((0usize..3000, 0usize..3000), 1..8),
        at in any::<prop::sample::Index>(),
    ) {
        let (mut ring, mut model) = (Ring::default(), VecDeque::new());
        let mut next = 0;
        for (pushed, popped) in steps {
            for _ in 0..pushed {
                ring.push_back(next);
                model.push_back(next);
                next += 1;
            }
            for _ in 0..popped {
                prop_assert_eq!(ring.pop_front(), model.pop_front());
            }
            prop_assert_eq!(ring.len(), model.len());
            prop_assert_eq!(ring.is_empty(), model.is_empty());
            prop_assert_eq!(ring.front(), model.front());
            let index = at.index(model.len() + 2);
            prop_assert_eq!(ring.get_mut(index), model.get_mut(index));
            let rest: Vec<_> = ring.iter_mut_from(index).collect();
            let expected: Vec<_> = model.iter_mut().skip(index).collect();
            prop_assert_eq!(rest, expected);
        }
        prop_assert!(ring.iter().eq(model.iter()));
        prop_assert!(ring.into_iter().eq(model));
    }

    #[test]
    fn a_list_agrees_with_a_vector(count in 0usize..5000, from in 0usize..6000) {
        let mut list = List::default();
        for number in 0..count {
            list.push(number);
        }
        prop_assert_eq!(list.len(), count);
        prop_assert_eq!(list.get(from).copied(), (from < count).then_some(from));
        prop_assert!(list.iter_from(from).copied().eq(from..count.max(from)));
        prop_assert!(list.into_iter().eq(0..count));
    }
}

#[test]
fn the_last_item_of_a_list_takes_the_place_of_a_removed_one() {
    let (mut list, mut model) = (List::default(), Vec::new());
    for number in 0..3000 {
        list.push(number);
        model.push(number);
    }
    for index in [2999, 0, 1024, 2047, 5].into_iter().chain((0..1000).rev()) {
        assert_eq!(list.swap_remove(index), Some(model.swap_remove(index)));
        assert_eq!(list.len(), model.len());
    }
    while let Some(item) = model.pop() {
        assert_eq!(list.pop(), Some(item));
    }
    assert!(list.is_empty());
    assert_eq!(list.swap_remove(0), None);
}

#[test]
fn a_map_stays_the_same_when_it_is_split() {
    let (mut map, mut model) = (SplitMap::<Box<[u8]>, usize>::default(), HashMap::new());
    assert!(map.is_empty());
    for number in 0..20_000 {
        let key = format!("{}", number % 15_000).into_bytes();
        map.insert(key.clone().into(), number);
        model.insert(key, number);
    }
    for number in (0..16_000).step_by(3) {
        let key = number.to_string().into_bytes();
        assert_eq!(map.remove(&*key), model.remove(&key));
    }
    for number in 0..16_000 {
        let key = number.to_string().into_bytes();
        assert_eq!(map.get(&*key), model.get(&key), "{number}");
        assert_eq!(map.contains_key(&*key), model.contains_key(&key));
        assert_eq!(map.get_mut(&*key), model.get_mut(&key));
    }
    let mut left: Vec<_> = map
        .into_iter()
        .map(|(key, value)| (key.to_vec(), value))
        .collect();
    let mut expected: Vec<_> = model.into_iter().collect();
    left.sort_unstable();
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[test]
fn a_map_of_which_most_is_removed_keeps_little_room() {
    let mut map = SplitMap::default();
    for key in 0..100_000 {
        map.insert(key, ());
    }
    for key in 0..99_000 {
        map.remove(&key);
    }
    let room: usize = map.parts.iter().map(HashMap::capacity).sum();
    assert!(room <= 16_000, "room for {room}");
    for key in 99_000..100_000 {
        assert!(map.contains_key(&key));
        map.remove(&key);
    }
    assert!(map.is_empty());
    assert!(map.parts.is_empty() && map.hasher.is_none());
}
