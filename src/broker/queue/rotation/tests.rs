use std::time::Duration;

use tokio::time::Instant;

use super::{GONE_MIN, Rotation};
use crate::broker::channel::ConsumerId;

/// How many wait for their turn, gone or not.
fn able(rotation: &Rotation) -> usize {
    rotation.able.iter().map(|(_, ring)| ring.len()).sum()
}

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
        assert!(able(&rotation) <= 2 * (10 + GONE_MIN), "{rotation:?}");
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
