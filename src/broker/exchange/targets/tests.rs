use std::time::Duration;

use tokio::time::Instant;

use super::Targets;

#[test]
fn each_target_is_counted_as_often_as_it_was_added() {
    for count in [5, 31, 32, 33, 100] {
        let mut targets = Targets::default();
        for value in (0..count).chain(0..count) {
            targets.add(value);
        }
        for value in 0..count {
            targets.remove(value);
            assert!(targets.as_slice().contains(&value), "{value} of {count}");
        }
        for value in (0..count).step_by(2) {
            targets.remove(value);
            targets.remove(value);
        }
        let mut left = targets.as_slice().to_vec();
        left.sort_unstable();
        assert!(left.iter().copied().eq((1..count).step_by(2)), "{left:?}");
        for value in (0..count).rev() {
            targets.remove(value);
        }
        assert!(targets.is_empty());
        targets.add(7);
        assert_eq!(targets.as_slice(), [7]);
    }
}

#[test]
fn many_are_taken_away_quickly() {
    let mut targets = Targets::default();
    for value in 0..100_000 {
        targets.add(value);
    }
    let begin = Instant::now();
    for value in (0..100_000).rev() {
        targets.remove(value);
        assert!(begin.elapsed() < Duration::from_secs(10), "it is slow");
    }
    assert!(targets.is_empty());
}
