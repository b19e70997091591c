use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{CheckId, Schedule, next_turn};

#[test]
fn turns_come_in_the_order_in_which_they_are_due() {
    let mut schedule = Schedule::default();
    schedule.book(CheckId(1), 300);
    schedule.book(CheckId(2), 100);
    schedule.book(CheckId(3), 200);
    assert_eq!(schedule.next_due(), Some(100));
    assert_eq!(schedule.take_due(99), None);
    assert_eq!(schedule.take_due(250), Some((CheckId(2), 100)));
    assert_eq!(schedule.take_due(250), Some((CheckId(3), 200)));
    assert_eq!(schedule.take_due(250), None);
    assert_eq!(schedule.next_due(), Some(300));
}

#[test]
fn a_check_is_scheduled_once_however_often_it_is_booked() {
    let mut schedule = Schedule::default();
    for due in 0..1000 {
        schedule.book(CheckId(1), due);
    }
    assert_eq!(schedule.len(), 1);
    assert_eq!(schedule.take_due(5000), Some((CheckId(1), 999)));
    assert_eq!(schedule.take_due(5000), None);
    schedule.book(CheckId(1), 10);
    schedule.remove(CheckId(1));
    assert_eq!((schedule.len(), schedule.next_due()), (0, None));
}

#[test]
fn the_phase_is_kept_and_only_one_missed_turn_made_up_for() {
    #[track_caller]
    fn check(due: u64, now: u64, expected: u64) {
        assert_eq!(
            next_turn(due, 5000, now),
            expected,
            "due {due}, over at {now}"
        );
    }
    check(1000, 1003, 6000);
    check(1000, 5999, 6000);
    // A probe that took as long as its interval: the next begins at once.
    check(1000, 6001, 6000);
    // The machine slept for a minute: one late turn, then the old phase.
    check(1000, 62_000, 61_000);
    check(61_000, 62_001, 66_000);
}

proptest! {
    #[test]
    fn the_schedule_agrees_with_a_sorted_map(
        steps in prop::collection::vec((0_u8..3, 0_u64..20, 0_u64..100), 1..300)
    ) {
        let mut schedule = Schedule::default();
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        for (step, check, at) in steps {
            match step {
                0 => {
                    schedule.book(CheckId(check), at);
                    model.insert(check, at);
                }
                1 => {
                    schedule.remove(CheckId(check));
                    model.remove(&check);
                }
                _ => {
                    let first = model.iter().map(|(check, due)| (*due, *check)).min();
                    let expected = first.filter(|(due, _)| *due <= at);
                    let found = schedule.take_due(at).map(|(check, due)| (due, check.0));
                    prop_assert_eq!(found, expected);
                    if let Some((_, check)) = found {
                        model.remove(&check);
                    }
                }
            }
            prop_assert_eq!(schedule.len(), model.len());
        }
    }

    #[test]
    fn the_next_turn_is_in_phase_and_at_most_one_interval_late(
        due in 0_u64..1_000_000, interval in 1_u64..100_000, over in 0_u64..10_000_000,
    ) {
        let now = due + over;
        let next = next_turn(due, interval, now);
        prop_assert!(next > due);
        prop_assert_eq!((next - due) % interval, 0);
        prop_assert!(next + interval > now);
        prop_assert!(next <= now + interval);
    }
}
