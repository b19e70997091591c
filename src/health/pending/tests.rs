use tokio::sync::oneshot::error::TryRecvError;

use super::{CheckId, Outcome, PendingRequests, RequestKey, RequestReply, RequestResult};
use crate::{api::CheckVerdict, model::ServiceId};

fn wanted(check: u64) -> RequestKey {
    RequestKey {
        check: CheckId(check),
        incarnation: 3,
        deadline_ms: 1_000,
        over_ms: 1_500,
    }
}

fn found(outcome: Outcome) -> CheckVerdict {
    CheckVerdict {
        service_id: ServiceId::parse("a").unwrap(),
        incarnation: 3,
        check: "web".into(),
        outcome,
        latency: std::time::Duration::ZERO,
        at: None,
        message: "".into(),
    }
}

#[test]
fn requests_are_limited_to_one_per_check_and_in_total() {
    let mut pending = PendingRequests::new(2);
    let (one, _reply) = pending.decide(wanted(1)).expect("room");
    assert!(pending.decide(wanted(1)).is_none() && pending.compare(wanted(1)).is_none());
    let two = pending.compare(wanted(2)).expect("room");
    assert!(pending.decide(wanted(3)).is_none(), "full");
    assert_eq!(pending.of_check(CheckId(2)), Some(two));
    pending.forget(one);
    let (three, _reply) = pending.decide(wanted(1)).expect("room again");
    assert!(three > two, "no number comes twice");
    pending.give_all_up();
    assert_eq!(pending.len(), 0);
    assert!(pending.compared.is_empty() && pending.of_check.is_empty());
}

#[test]
fn waiters_get_the_result() {
    let mut pending = PendingRequests::new(9);
    let mut out = Vec::new();
    let (one, mut first) = pending.decide(wanted(1)).expect("room");
    let (two, mut second) = pending.decide(wanted(2)).expect("room");
    let (three, mut third) = pending.decide(wanted(3)).expect("room");
    assert_eq!(first.try_recv().unwrap_err(), TryRecvError::Empty);
    pending.answer(one, found(Outcome::Failed), 900, &mut out);
    pending.give_up(two);
    pending.gone(three);
    let reply = first.try_recv().expect("a reply");
    assert!(matches!(reply, RequestReply::Verdict(found) if found.outcome == Outcome::Failed));
    assert!(matches!(second.try_recv(), Ok(RequestReply::Never)));
    assert!(matches!(third.try_recv(), Ok(RequestReply::Gone)));
    assert!(out.is_empty() && pending.len() == 0);
    pending.answer(one, found(Outcome::Passed), 901, &mut out);
    assert!(out.is_empty(), "nobody waits for a second one");
}

#[test]
fn both_ways_are_compared_whichever_comes_first() {
    use Outcome::{Denied, Failed, Passed, Skipped, TimedOut};
    check(Passed, Passed, 900, &[RequestResult::Same]);
    check(Failed, TimedOut, 900, &[RequestResult::Same]);
    check(Passed, Denied, 900, &[RequestResult::Different]);
    check(Failed, Passed, 1_000, &[RequestResult::Different]);
    check(
        Passed,
        Passed,
        1_001,
        &[RequestResult::Same, RequestResult::Late],
    );
    check(
        Failed,
        Passed,
        1_400,
        &[RequestResult::Different, RequestResult::Late],
    );
    check(Skipped, Passed, 900, &[]);
    check(Passed, Skipped, 900, &[]);

    #[track_caller]
    fn check(direct: Outcome, came: Outcome, came_ms: u64, expected: &[RequestResult]) {
        for direct_first in [true, false] {
            let (mut pending, mut out) = (PendingRequests::new(9), Vec::new());
            let number = pending.compare(wanted(1)).expect("room");
            if direct_first {
                pending.direct(number, direct, &mut out);
            }
            pending.answer(number, found(came), came_ms, &mut out);
            if !direct_first {
                pending.direct(number, direct, &mut out);
            }
            assert_eq!(out, expected, "direct first: {direct_first}");
            assert_eq!(pending.len(), 0);
            pending.sweep(u64::MAX, &mut out);
            assert_eq!(out, expected, "nothing is left");
        }
    }
}

#[test]
fn an_unanswered_comparison_is_missing() {
    let (mut pending, mut out) = (PendingRequests::new(9), Vec::new());
    let one = pending.compare(wanted(1)).expect("room");
    let two = pending.compare(wanted(2)).expect("room");
    pending.direct(one, Outcome::Passed, &mut out);
    pending.sweep(1_499, &mut out);
    assert!(out.is_empty());
    pending.sweep(1_500, &mut out);
    assert_eq!(
        out,
        [RequestResult::Missing],
        "the second was never probed at all"
    );
    pending.direct(two, Outcome::Passed, &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(pending.len(), 0);
}
