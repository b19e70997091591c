use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::Rotation;
use crate::broker::channel::ConsumerId;

#[test]
fn many_consumers_are_removed_quickly() {
    for single_active in [false, true] {
        let mut rotation = Rotation::new(single_active);
        let places: Vec<_> = (0..100_000)
            .map(|number| rotation.add(ConsumerId::from_u64(number), 0, false))
            .collect();
        let begin = Instant::now();
        for place in places {
            rotation.remove(place);
            assert!(begin.elapsed() < Duration::from_secs(10), "they are slow");
        }
        assert!(rotation.is_empty());
    }
}

#[test]
fn removed_consumers_do_not_pile_up() {
    let mut rotation = Rotation::new(false);
    for number in 0..10 {
        rotation.add(ConsumerId::from_u64(number), 0, false);
    }
    for number in 10..1000 {
        let place = rotation.add(ConsumerId::from_u64(number), 0, false);
        rotation.remove(place);
        assert_eq!(rotation.links.len(), 10, "{rotation:?}");
    }
    for number in 0..10 {
        assert_eq!(rotation.front(), Some(ConsumerId::from_u64(number)));
        rotation.turn();
    }
}

#[test]
fn the_next_active_one_is_the_first_of_the_highest() {
    let mut rotation = Rotation::new(true);
    let [low, first, second] = [1, 2, 3].map(ConsumerId::from_u64);
    let place = rotation.add(low, 0, false);
    let first_place = rotation.add(first, 5, false);
    rotation.add(second, 5, false);
    assert!(rotation.is_active(low));
    assert_eq!(rotation.remove(place), Some(first));
    assert_eq!(rotation.remove(first_place), Some(second));
    assert_eq!(rotation.remove(place), None, "it has gone already");
}

proptest! {
    /// The model: a queue of consumers for each priority, the highest last.
    #[test]
    fn consumers_take_turns_as_in_a_model(steps in prop::collection::vec((0..5u8, -2..3i32), 0..200)) {
        let mut rotation = Rotation::new(false);
        let mut model = BTreeMap::<i32, VecDeque<u64>>::new();
        let (mut places, mut parked) = (Vec::new(), Vec::new());
        for (number, (step, priority)) in (0..).zip(steps) {
            let front = rotation.front();
            let next = model.last_entry();
            prop_assert_eq!(front, next.as_ref().map(|next| ConsumerId::from_u64(next.get()[0])));
            match step {
                0 => {
                    let id = ConsumerId::from_u64(number);
                    places.push((rotation.add(id, priority, false), number, priority));
                    model.entry(priority).or_default().push_back(number);
                }
                1 => {
                    rotation.turn();
                    if let Some(mut next) = next {
                        next.get_mut().rotate_left(1);
                    }
                }
                2 => {
                    rotation.park_front();
                    if let Some(mut next) = next {
                        parked.extend(next.get_mut().pop_front());
                        if next.get().is_empty() {
                            next.remove();
                        }
                    }
                }
                3 if !parked.is_empty() => {
                    let number = parked.remove(priority.unsigned_abs() as usize % parked.len());
                    if let Some((place, _, priority)) = places.iter().find(|place| place.1 == number) {
                        rotation.enable(*place);
                        rotation.enable(*place);
                        model.entry(*priority).or_default().push_back(number);
                    }
                }
                4 if !places.is_empty() => {
                    let index = priority.unsigned_abs() as usize % places.len();
                    let (place, number, priority) = places.swap_remove(index);
                    rotation.remove(place);
                    if let Some(queue) = model.get_mut(&priority) {
                        queue.retain(|other| *other != number);
                    }
                    model.retain(|_, queue| !queue.is_empty());
                }
                _ => {}
            }
            prop_assert_eq!(rotation.len(), places.len());
            prop_assert_eq!(rotation.links.len(), model.values().map(VecDeque::len).sum::<usize>());
        }
    }
}
