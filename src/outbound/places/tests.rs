use std::time::Duration;

use futures_util::FutureExt;

use super::{Pace, SharedPlaces, Shares, TakenPlace};

/// Takes places until there is none at once.
fn fill(places: &SharedPlaces, pace: Pace) -> Vec<TakenPlace> {
    std::iter::from_fn(|| places.enter(pace).now_or_never()).collect()
}

#[test]
fn slow_and_new_peers_leave_places_to_fast_ones() {
    for (max, unproven, slow) in [
        (1, 1, 1),
        (2, 1, 1),
        (3, 2, 1),
        (16, 12, 8),
        (256, 192, 128),
    ] {
        let shares = Shares::of(max);
        assert_eq!((shares.unproven, shares.slow), (unproven, slow), "of {max}");
        let places = SharedPlaces::new(max);
        let slow_ones = fill(&places, Pace::Slow);
        assert_eq!(slow_ones.len(), slow);
        let new_ones = fill(&places, Pace::New);
        assert_eq!(slow_ones.len() + new_ones.len(), unproven);
        let fast_ones = fill(&places, Pace::Fast);
        assert_eq!(fast_ones.len(), max - unproven);
        drop((slow_ones, new_ones, fast_ones));
        assert_eq!(
            fill(&places, Pace::Fast).len(),
            max,
            "all places are free again"
        );
    }
}

#[test]
fn no_number_of_places_is_none_or_too_many() {
    for max in [0, usize::MAX] {
        assert!(
            SharedPlaces::new(max)
                .enter(Pace::Slow)
                .now_or_never()
                .is_some()
        );
    }
}

#[test]
fn a_peer_is_slow_from_a_second_on() {
    assert_eq!(Pace::of(Duration::from_millis(999)), Pace::Fast);
    assert_eq!(Pace::of(Duration::from_secs(1)), Pace::Slow);
}

#[test]
fn shares_count_like_places() {
    for pace in [Pace::Fast, Pace::New, Pace::Slow] {
        let mut left = Shares::of(16);
        let mut taken = 0;
        while left.admits(pace) {
            left.take(pace);
            taken += 1;
        }
        assert_eq!(taken, fill(&SharedPlaces::new(16), pace).len(), "{pace:?}");
        assert_eq!(left.admits(Pace::Fast), pace != Pace::Fast);
        (0..taken).for_each(|_| left.give_back(pace));
        assert_eq!(left, Shares::of(16));
    }
}
