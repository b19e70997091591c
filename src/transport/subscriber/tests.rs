use std::{sync::OnceLock, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::model::EventKind;

const POLICY: Policy = Policy {
    backoff_first: Duration::from_millis(200),
    backoff_max: Duration::from_secs(2),
    circuit_after: 5,
    circuit_open: Duration::from_secs(15),
    refusals_max: 3,
};
const EPOCH: Epoch = Epoch(7);
const AT: Timestamp = Timestamp(1_000);

fn at(revision: u64) -> Subscriber {
    let cursor = Cursor {
        epoch: EPOCH,
        revision: Revision(revision),
    };
    Subscriber::new(cursor, POLICY)
}

fn event(epoch: Epoch, revision: u64) -> Event {
    Event {
        epoch,
        revision: Revision(revision),
        kind: EventKind::Registered,
        service_id: None,
        service_name: None,
        status: None,
        previous_status: None,
        reason: None,
        timestamp: AT,
        instance: None,
        route: None,
        encoded: OnceLock::new(),
    }
}

#[track_caller]
fn check_offer(subscriber: &Subscriber, epoch: Epoch, revision: u64, expected: Offer) {
    assert_eq!(
        subscriber.offer(&event(epoch, revision)),
        expected,
        "revision {revision}"
    );
}

#[test]
fn only_what_is_after_the_cursor_and_of_its_epoch_is_delivered() {
    let mut subscriber = at(5);
    check_offer(&subscriber, EPOCH, 4, Offer::Drop);
    check_offer(&subscriber, EPOCH, 5, Offer::Drop);
    check_offer(&subscriber, EPOCH, 6, Offer::Deliver);
    check_offer(&subscriber, Epoch(8), 6, Offer::Drop);

    subscriber.delivered(Revision(6), AT);
    check_offer(&subscriber, EPOCH, 6, Offer::Drop);
    check_offer(&subscriber, EPOCH, 7, Offer::Deliver);

    subscriber.pass(Revision(9));
    check_offer(&subscriber, EPOCH, 9, Offer::Drop);
    subscriber.pass(Revision(2));
    assert_eq!(subscriber.cursor().revision, Revision(9));
}

#[test]
fn a_failure_does_not_move_the_cursor() {
    let mut subscriber = at(5);
    let now = Instant::now();
    let next = subscriber.failed(&DeliveryError::Failed("no route".into()), now, 1.0);
    assert_eq!(next, Next::Retry(now + POLICY.backoff_first));
    check_offer(&subscriber, EPOCH, 6, Offer::Deliver);
    assert!(subscriber.is_failing());
    assert_eq!(subscriber.record.failed, 1);
    assert_eq!(subscriber.record.last_error.as_deref(), Some("no route"));

    subscriber.delivered(Revision(6), AT);
    assert!(!subscriber.is_failing());
    assert_eq!(subscriber.record.last_delivered_at, Some(AT));
    // The last error stays readable after it was overcome.
    assert_eq!(subscriber.record.last_error.as_deref(), Some("no route"));
}

#[test]
fn a_lost_subscriber_gets_a_snapshot_first() {
    let mut subscriber = at(5);
    subscriber.lose();
    check_offer(&subscriber, EPOCH, 6, Offer::Drop);
    subscriber.resynced(Revision(40), AT);
    assert_eq!(subscriber.record.resyncs, 1);
    check_offer(&subscriber, EPOCH, 40, Offer::Drop);
    check_offer(&subscriber, EPOCH, 41, Offer::Deliver);
}

#[test]
fn a_refused_event_is_replaced_after_refusals_max_refusals() {
    let mut subscriber = at(5);
    let now = Instant::now();
    let refused = DeliveryError::Refused(422);
    for _ in 1..POLICY.refusals_max {
        subscriber.failed(&refused, now, 0.0);
        assert!(!subscriber.is_lost());
    }
    // Other failures in between do not count.
    subscriber.failed(&DeliveryError::Late(Duration::from_secs(5)), now, 0.0);
    assert!(!subscriber.is_lost());
    subscriber.failed(&refused, now, 0.0);
    assert!(subscriber.is_lost());
    assert_eq!(subscriber.record.given_up, 1);

    // A refused snapshot is tried for ever: there is nothing to give it up for.
    for _ in 0..20 {
        subscriber.failed(&refused, now, 0.0);
    }
    assert!(subscriber.is_lost());
    assert_eq!(subscriber.record.given_up, 1);
}

#[test]
fn refusals_count_per_event() {
    let mut subscriber = at(5);
    let now = Instant::now();
    for revision in 6..20 {
        subscriber.failed(&DeliveryError::Refused(400), now, 0.0);
        subscriber.failed(&DeliveryError::Refused(400), now, 0.0);
        subscriber.delivered(Revision(revision), AT);
    }
    assert!(!subscriber.is_lost());
}

#[test]
fn a_receiver_that_is_gone_is_not_tried_again() {
    let next = at(5).failed(&DeliveryError::Gone, Instant::now(), 0.5);
    assert_eq!(next, Next::End);
}

proptest! {
    /// Two paths bring the same changes, each in order but at different speeds, and some attempts fail. The
    /// subscriber takes each change once and in order.
    #[test]
    fn two_paths_deliver_each_event_once_and_in_order(
        steps in proptest::collection::vec((any::<bool>(), proptest::bool::weighted(0.3)), 0..200),
    ) {
        let mut subscriber = at(0);
        let mut taken = Vec::new();
        let mut next = [1_u64, 1];
        for (path, fails) in steps {
            let path = usize::from(path);
            // A path never runs ahead of the cursor by more than the next change.
            let revision = next[path].min(subscriber.cursor().revision.0 + 1);
            if subscriber.offer(&event(EPOCH, revision)) == Offer::Deliver {
                if fails {
                    subscriber.failed(&DeliveryError::Panicked, Instant::now(), 0.0);
                    continue;
                }
                taken.push(revision);
                subscriber.delivered(Revision(revision), AT);
            }
            next[path] = revision + 1;
        }
        let expected: Vec<_> = (1..=subscriber.cursor().revision.0).collect();
        prop_assert_eq!(taken, expected);
    }
}
